#include "core/case.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace fse {
namespace {

// Only what the kind uses: a stale parameter of a uniform distribution must not split its results.
std::string canonical_routing(const RoutingDistribution& routing) {
  switch (routing.kind) {
    case RoutingKind::uniform:
      break;
    case RoutingKind::zipf:
    case RoutingKind::dirichlet:
      return fmt::format("{}({})", to_name(routing.kind), routing.parameter);
    case RoutingKind::trace:
      return "trace:" + routing.trace_hash;
  }
  return "uniform";
}

}  // namespace

std::string to_text(const RoutingDistribution& routing) {
  if (routing.kind == RoutingKind::trace) return "trace: " + routing.trace.string();
  return canonical_routing(routing);
}

std::string canonical_text(const Case& c) {
  const Variant& v = c.variant;
  return fmt::format(
      "{}gate={}\ntopk={}\nshared={}\nexperts_run={}\nlaunch={}\ntokens={}\ntp={}\nrouting={}\n"
      "cache={}\ndevice={}\nseed={}\n",
      canonical_text(c.layer), to_name(v.gate), to_name(v.topk), to_name(v.shared),
      to_name(v.experts), to_name(v.launch), c.tokens, c.tp, canonical_routing(c.routing),
      to_name(c.cache), c.device, c.seed);
}

std::string weights_text(const Case& c) {
  return fmt::format("{}model={}\ntp={}\nseed={}\n", canonical_text(c.layer), c.layer.model, c.tp,
                     c.seed);
}

std::string hash_text(const std::string& text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

bool same_workload(const Case& a, const Case& b) {
  Case c = b;
  c.variant = a.variant;
  return canonical_text(a) == canonical_text(c);
}

std::string case_id(const Case& c) {
  return hash_text(canonical_text(c));
}

}  // namespace fse
