// Any trace, written and read back, is the same trace; any order of rows gives the same requests.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/writer.hpp"

namespace tessera {
namespace {

using trace_testing::Row;

TraceInfo all_columns() {
  TraceInfo info;
  info.block_tokens = 512;
  info.has_ids = info.has_sessions = info.has_classes = info.has_tenants = true;
  return info;
}

// Rows in time order, the first at 0, with unique ids.
std::vector<Row> any_trace() {
  const auto gaps = *rc::gen::nonEmpty(
      rc::gen::container<std::vector<std::int64_t>>(rc::gen::inRange<std::int64_t>(0, 5 * kPsPerSecond)));
  std::vector<Row> rows;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < gaps.size(); ++i) {
    if (i > 0) at += gaps[i];
    const int tokens = *rc::gen::inRange(1, 3'000);
    rows.push_back({at,
                    tokens,
                    *rc::gen::inRange(1, 2'000),
                    *rc::gen::arbitrary<std::uint32_t>(),
                    *rc::gen::inRange(0U, 1'000U),
                    {},
                    "r" + std::to_string(i),
                    *rc::gen::arbitrary<std::uint32_t>()});
    const auto blocks = *rc::gen::inRange<std::int64_t>(0, ceil_div(tokens, 512) + 1);
    for (std::int64_t b = 0; b < blocks; ++b)
      rows.back().blocks.push_back(*rc::gen::arbitrary<std::uint64_t>());
  }
  return rows;
}

std::string written(const std::vector<Row>& rows, const std::string& format) {
  std::ostringstream out;
  const auto writer = make_writer(format, to_stream(out), all_columns());
  for (const Row& row : rows)
    writer->write({row.arrival_ps, row.input_tokens, row.output_tokens, row.prompt_class, row.session,
                   row.blocks, row.id, row.tenant});
  writer->finish();
  return out.str();
}

RC_GTEST_PROP(TraceRoundTrip, OurCsvKeepsEverything, ()) {
  const auto rows = any_trace();
  RC_ASSERT(trace_testing::rows_of(written(rows, "tessera")) == rows);
}

RC_GTEST_PROP(TraceRoundTrip, MooncakeKeepsTimesLengthsAndBlocks, ()) {
  auto rows = any_trace();
  const std::string text = written(rows, "mooncake");
  for (Row& row : rows)
    row = {row.arrival_ps, row.input_tokens, row.output_tokens, 0, kNoSession, row.blocks, ""};
  RC_ASSERT(trace_testing::rows_of(text) == rows);
}

RC_GTEST_PROP(TraceRoundTrip, ShuffledRowsComeOutInOrder, ()) {
  const auto rows = any_trace();
  std::vector<Row> shuffled = rows;
  for (std::size_t i = shuffled.size(); i > 1; --i)
    std::swap(shuffled[i - 1], shuffled[*rc::gen::inRange<std::size_t>(0, i)]);
  ReadOptions options;
  options.hold_bytes = *rc::gen::element<std::size_t>(0, 1'000, std::size_t{1} << 20);
  const auto read = trace_testing::rows_of(written(shuffled, "tessera"), options);
  RC_ASSERT(std::is_sorted(read.begin(), read.end(),
                           [](const Row& a, const Row& b) { return a.arrival_ps < b.arrival_ps; }));
  RC_ASSERT(std::is_permutation(read.begin(), read.end(), rows.begin(), rows.end()));
}

}  // namespace
}  // namespace tessera
