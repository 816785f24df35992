#include "core/trace.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/workload.h"
#include "tests/core/store_fixture.h"
#include "tests/core/trace_fixture.h"

namespace fse {
namespace {

using test::TemporaryFolder;
using test::write_trace;

RoutingSpec routing(int experts, int top_k, int groups = 1, int kept = 1) {
  return {.experts = experts, .top_k = top_k, .groups = groups, .groups_kept = kept};
}

LayerSpec layer(const RoutingSpec& r) {
  LayerSpec spec;
  spec.hidden = 64;
  spec.intermediate = 32;
  spec.routing = r;
  return spec;
}

TEST_CASE("the rows of a trace are cycled in their order") {
  const TemporaryFolder folder;
  const auto file = folder / "t.safetensors";
  write_trace(file, {{0, 1}, {2, 3}, {4, 5}});
  const RoutingDistribution trace{.kind = RoutingKind::trace, .trace = file};
  const Matrix ids = draw_routing(layer(routing(8, 2)), trace, 7, 1);
  REQUIRE(ids.rows() == 7);
  for (Eigen::Index t = 0; t < 7; ++t) {
    CHECK(ids(t, 1) == ids(t, 0) + 1);
    CHECK(ids(t, 0) == static_cast<int>(ids(0, 0) / 2 + static_cast<double>(t)) % 3 * 2);
  }
}

TEST_CASE("the first fault of any row is named, with its row and column") {
  struct Fault {
    std::vector<std::vector<int64_t>> rows;
    std::string error;
  };
  const std::vector<Fault> faults{
      {{{0, 1}, {2, 8}}, "topk_ids row 1 column 1 is 8, expected an expert from 0 to 7"},
      {{{0, 1}, {-1, 9}}, "topk_ids row 1 column 0 is -1, expected an expert from 0 to 7"},
      {{{0, 1}, {2, 3}, {5, 5}}, "topk_ids row 2 column 1 is 5, expected an expert that its row"},
      {{{0, 1, 2}}, "topk_ids has shape [1, 3], expected [rows, top_k = 2]"},
      {{}, "topk_ids has shape [0, 1], expected [rows, top_k = 2]"},
  };
  const TemporaryFolder folder;
  const auto file = folder / "t.safetensors";
  for (const auto& [rows, error] : faults) {
    CAPTURE(error);
    write_trace(file, rows);
    const std::string fault = trace_fault(routing(8, 2), file);
    CAPTURE(fault);
    CHECK(fault.starts_with(file.string() + ": " + error));
    const RoutingDistribution trace{.kind = RoutingKind::trace, .trace = file};
    CHECK_THROWS_AS(draw_routing(layer(routing(8, 2)), trace, 3, 1), Error);
  }
  write_trace(file, {{7, 0}, {0, 7}});
  CHECK(trace_fault(routing(8, 2), file).empty());
}

TEST_CASE("a row may use no more groups than the layer keeps") {
  const TemporaryFolder folder;
  const auto file = folder / "t.safetensors";
  write_trace(file, {{0, 1, 2}, {0, 3, 15}, {4, 8, 12}});  // groups of four: 0; 0 3; 1 2 3
  CHECK(trace_fault(routing(16, 3, 4, 2), file)
            .ends_with("topk_ids row 2 column 2 is 12, expected one of the 2 groups of 4 experts "
                       "that its row has already"));
  CHECK(trace_fault(routing(16, 3, 4, 3), file).empty());
  CHECK(trace_fault(routing(16, 3), file).empty());
}

TEST_CASE("a file that holds no trace is damaged data, for every layer") {
  const TemporaryFolder folder;
  const auto file = folder / "t.safetensors";
  const auto kind_of = [&] {
    try {
      trace_fault(routing(8, 2), file);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(file.string()) != std::string::npos);
      return error.kind;
    }
    return ErrorKind::usage;
  };
  std::ofstream(file) << "no safetensors";
  CHECK(kind_of() == ErrorKind::data);
  write_safetensors(file, {{.name = "ids", .dtype = "U8", .shape = {1, 1}, .bytes = {{}}}});
  CHECK(kind_of() == ErrorKind::data);
  for (const std::string dtype : {"F32", "I32"}) {
    write_safetensors(file, {{.name = "topk_ids",
                              .dtype = dtype,
                              .shape = {1, 1},
                              .bytes = std::vector<std::byte>(4)}});
    CAPTURE(dtype);
    if (dtype == "I32")
      CHECK(trace_fault(routing(4, 1), file) == "");
    else
      CHECK_THROWS_WITH_AS(trace_fault(routing(4, 1), file),
                           doctest::Contains("dtype F32, expected integers"), Error);
  }
  write_safetensors(file, {{.name = "topk_ids", .dtype = "BOOL", .shape = {1, 1}, .bytes = {{}}}});
  CHECK(kind_of() == ErrorKind::data);
}

}  // namespace
}  // namespace fse
