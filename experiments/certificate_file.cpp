#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/case_fields.h"
#include "core/strict_json.h"
#include "experiments/certificate.h"

namespace fse {

template <class Archive>
void fields(Archive& a, Summary& s) {
  a("median", s.median);
  a("lo", s.lo);
  a("hi", s.hi);
  a("n", s.n);
}

template <class Archive>
void fields(Archive& a, CertifiedStep& s) {
  a("step", s.step);
  a("kernel", s.kernel);
  a("tile", s.tile);
  a("time_us", s.time_us);
  a("default_us", s.default_us);
  a("tuned_us", s.tuned_us);
  a("registers", s.registers);
  a("lds_bytes", s.lds_bytes);
  a("spill_bytes", s.spill_bytes);
  a("rival", s.rival);
  a("rival_tile", s.rival_tile);
  a("rival_us", s.rival_us);
  a("over_rival", s.over_rival);
  a("rival_verdict", s.rival_verdict);
}

template <class Archive>
void fields(Archive& a, CertifiedClaim& c) {
  a("against", c.against);
  a("attempt", c.attempt);
  a("variant", c.variant);
  a("steps", c.steps);
  a("time_us", c.time_us);
  a("ratio", c.ratio);
  a("verdict", c.verdict);
  a("p", c.p);
  a("paired", c.paired);
}

template <class Archive>
void fields(Archive& a, CertifiedRange& r) {
  a("tokens_from", r.from);
  a("tokens_to", r.to);
  a("regret", r.regret);
  a("held_out_regret", r.held_out);
}

template <class Archive>
void fields(Archive& a, Certificate& c) {
  a("format", c.format);
  a("fselab", c.fselab);
  a("case", c.spec);
  a("case_id", c.case_id);
  a("canonical", c.canonical);
  a("device", c.device);
  a("compiler", c.compiler);
  a("git_revision", c.git_revision);
  a("host_os", c.host_os);
  a("read_gbs", c.read_gbs);
  a("peak_gflops", c.peak_gflops);
  a("attempt", c.attempt);
  a("weight_sets", c.weight_sets);
  a("rotation_shortfall_bytes", c.rotation_shortfall_bytes);
  a("load_histogram", c.load_histogram);
  a("distinct_experts", c.distinct_experts);
  a("max_over_mean_load", c.max_over_mean_load);
  a("routing_agreement", c.routing_agreement);
  a("time_us", c.time_us);
  a("floor_us", c.floor_us);
  a("rel_frobenius", c.rel_frobenius);
  a("worst", c.worst);
  a("bound", c.bound);
  a("aa_floor", c.aa_floor);
  a("steps", c.steps);
  a("claims", c.claims);
  a("library", c.library);
  a("valid", c.valid);
  a("rerun", c.rerun);
}

namespace {

using nlohmann::json;

// What is hashed is the content, not how a file lays it out.
std::string hash_of(const json& certificate) {
  return hash_text(certificate.dump());
}

}  // namespace

std::string to_text(const Certificate& certificate) {
  // Names may hold bytes that no JSON has: what is hashed is what a reader gets.
  const json content =
      json::parse(to_json(certificate).dump(-1, ' ', false, json::error_handler_t::replace));
  nlohmann::ordered_json file;
  file["certificate"] = content;
  file["verify"] = "fselab verify --certificate FILE";
  file["hash"] = hash_of(content);
  return file.dump(2) + "\n";
}

Certificate read_certificate(const std::string& text, const std::string& name) {
  const json file = parse_strict_json(text, name, 16);
  const auto content = file.find("certificate");
  const auto hash = file.find("hash");
  if (content == file.end() || !content->is_object() || hash == file.end() || !hash->is_string())
    fail_data(name + ": no certificate, expected the objects 'certificate' and 'hash'");
  if (hash_of(*content) != hash->get<std::string>())
    fail_data(fmt::format("{}: tampered: its hash is {}, that of its content {}", name,
                          printable(hash->get<std::string>()), hash_of(*content)));
  try {
    Certificate certificate = from_json<Certificate>(*content);
    if (certificate.format != 1)
      fail_data(fmt::format("format {}, expected 1", certificate.format));
    if (case_id(certificate.spec) != certificate.case_id ||
        canonical_text(certificate.spec) != certificate.canonical)
      fail_data("case_id is not that of its case");
    validate(certificate.spec.layer);
    return certificate;
  } catch (const json::exception& error) {
    fail_data(fmt::format("{}: {}", name, error.what()));
  } catch (const Error& error) {
    fail_data(fmt::format("{}: {}", name, printable(error.what())));
  }
}

}  // namespace fse
