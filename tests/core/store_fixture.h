#pragma once
#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/store.h"
#include "tests/temporary_folder.h"

namespace fse::test {

inline Case sample_case(Shared shared = Shared::mlp, int tokens = 4) {
  Case c;
  c.layer = {.model = "qwen3-next-80b-a3b",
             .hidden = 2048,
             .intermediate = 512,
             .routing = {.experts = 512, .top_k = 10, .renormalize = true},
             .shared = {.count = 1, .shared_width = 512, .weight = SharedWeight::sigmoid_gate},
             .dtype = DType::bf16,
             .activations = Activations::bf16};
  c.variant.shared = shared;
  c.tokens = tokens;
  return c;
}

inline Environment sample_environment() {
  return {.device = {.name = "cpu",
                     .kind = "cpu",
                     .arch = "AVX2",
                     .product = "Some CPU",
                     .compute_units = 2,
                     .memory_bytes = int64_t{8} << 30,
                     .llc_bytes = int64_t{32} << 20,
                     .dtypes = {DType::f32, DType::bf16, DType::fp8_block128},
                     .wave = 64,
                     .dependent_launch = true},
          .compiler = "g++ 12.2.0 -O3",
          .git_revision = "0123abc",
          .host_os = "Linux 6.1",
          .read_gbs = 20.5,
          .peak_gflops = 100};
}

inline StudyRecord sample_study(const std::string& name = "decode") {
  return {.name = name,
          .yaml_text = "study: decode\n",
          .plan_hash = "00ff",
          .command = "fselab run decode.yaml --db decode.db",
          .created = ""};
}

inline std::vector<double> samples_around(double us, int n = 25) {
  std::vector<double> all;
  for (int i = 0; i < n; ++i) all.push_back(us * (1 + 0.001 * (i % 7)));
  return all;
}

inline Outcome verified_outcome(double us) {
  return {.status = Status::measured,
          .reason = "",
          .accuracy = {.rel_frobenius = 1e-3, .worst = 0.01, .bound = 4e-3, .first_bad = ""},
          .samples_us = samples_around(us)};
}

inline AttemptRecord step_attempt(const std::string& key = "grouped_stage1 tokens=4") {
  AttemptRecord a;
  a.step_key = key;
  a.workload = "routing=uniform cache=cold_weights seed=1";
  a.kernel = "cpu.grouped_stage1.stream";
  a.tile.axes = {{"rows", 4}, {"depth", 512}};
  return a;
}

inline AttemptRecord layer_attempt(const Case& c) {
  AttemptRecord a;
  a.case_id = case_id(c);
  return a;
}

// Begins and closes one attempt; its id.
inline int64_t record(Store& store, int64_t study, int64_t environment, AttemptRecord what,
                      const Outcome& outcome) {
  const int64_t id = store.begin_attempt(study, environment, what);
  what.outcome = outcome;
  store.finish_attempt(id, what);
  return id;
}

inline int64_t count(SQLite::Database& db, const std::string& from) {
  return db.execAndGet("SELECT count(*) FROM " + from).getInt64();
}

// What the Error said, prefixed by its exit code: "5: file: ..."; "" where nothing was thrown.
inline std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return std::to_string(static_cast<int>(e.kind)) + ": " + e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace fse::test
