// What opening a trace may and may not change: limits, scales, memory and names over random traces.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::open_text;
using trace_testing::Row;
using trace_testing::rows_of;

const std::string kHeader = "request_id,arrival_s,input_tokens,output_tokens,session\n";

// Rows in any order of time, with names of their own.
std::vector<std::string> any_lines(int least = 1) {
  std::vector<std::string> lines(static_cast<std::size_t>(*rc::gen::inRange(least, 30)));
  for (std::size_t i = 0; i < lines.size(); ++i)
    lines[i] = fmt::format("n{},{}.{:03},{},{},{}\n", i * 7 % 31, *rc::gen::inRange(0, 5'000),
                           *rc::gen::inRange(0, 1'000), *rc::gen::inRange(1, 9'000),
                           *rc::gen::inRange(1, 900), *rc::gen::inRange(0, 9));
  return lines;
}
std::string text_of(const std::vector<std::string>& lines, std::size_t count = SIZE_MAX) {
  std::string text = kHeader;
  for (std::size_t i = 0; i < std::min(count, lines.size()); ++i) text += lines[i];
  return text;
}

RC_GTEST_PROP(OpenTraceProperty, ALimitIsAFileCutThere, ()) {
  const auto lines = any_lines();
  ReadOptions options;
  options.limit = *rc::gen::inRange<std::int64_t>(1, 35);
  options.hold_bytes = *rc::gen::element<std::size_t>(0, 300, 1 << 20);
  RC_ASSERT(rows_of(text_of(lines), options) ==
            rows_of(text_of(lines, static_cast<std::size_t>(*options.limit))));
}

RC_GTEST_PROP(OpenTraceProperty, HowMuchIsHeldChangesNothing, ()) {
  const std::string text = text_of(any_lines());
  ReadOptions options;
  options.hold_bytes = *rc::gen::inRange<std::size_t>(0, 3'000);
  const auto held = open_text(text), streamed = open_text(text, options);
  RC_ASSERT(streamed->info().requests == held->info().requests);
  RC_ASSERT(streamed->info().span_ps == held->info().span_ps);
  RC_ASSERT(streamed->info().origin_s == held->info().origin_s);
  RC_ASSERT(streamed->info().notes == held->info().notes);
  RC_ASSERT(trace_testing::all_rows(*streamed) == trace_testing::all_rows(*held));
}

// Powers of two divide picoseconds exactly but for half of the last one.
RC_GTEST_PROP(OpenTraceProperty, ADoubledRateHalvesEveryArrivalAndNothingElse, ()) {
  const std::string text = text_of(any_lines());
  ReadOptions options;
  options.rate_scale = *rc::gen::element(0.5, 2.0, 8.0);
  const auto plain = rows_of(text);
  auto scaled = rows_of(text, options);
  RC_ASSERT(scaled.size() == plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i) {
    RC_ASSERT(std::abs(static_cast<double>(scaled[i].arrival_ps) * options.rate_scale -
                       static_cast<double>(plain[i].arrival_ps)) <= 0.5 * options.rate_scale);
    scaled[i].arrival_ps = plain[i].arrival_ps;
  }
  RC_ASSERT(scaled == plain);
}

RC_GTEST_PROP(OpenTraceProperty, AClockThatStandsElsewhereMovesTheOriginAlone, ()) {
  const auto count = *rc::gen::inRange(1, 20);
  const auto shift = *rc::gen::inRange(1, 1'000'000);
  std::string here = kHeader, there = kHeader;
  for (int i = 0; i < count; ++i) {
    const auto second = *rc::gen::inRange(0, 5'000);
    here += fmt::format("r{},{}.25,5,6,\n", i, second);
    there += fmt::format("r{},{}.25,5,6,\n", i, second + shift);
  }
  const auto a = open_text(here), b = open_text(there);
  RC_ASSERT(b->info().origin_s - a->info().origin_s == shift);
  RC_ASSERT(b->info().origin_ps == a->info().origin_ps);
  RC_ASSERT(trace_testing::all_rows(*a) == trace_testing::all_rows(*b));
}

RC_GTEST_PROP(OpenTraceProperty, ANameThatComesAgainIsRefusedWithBothLines, ()) {
  auto lines = any_lines(2);
  const auto first = *rc::gen::inRange<std::size_t>(0, lines.size() - 1);
  const auto again = *rc::gen::inRange<std::size_t>(first + 1, lines.size());
  const std::string name = lines[first].substr(0, lines[first].find(','));
  lines[again] = name + lines[again].substr(lines[again].find(','));
  ReadOptions options;
  options.hold_bytes = *rc::gen::element<std::size_t>(0, 1 << 20);
  const std::string message = input_error([&] { open_text(text_of(lines), options); });
  // The header is line 1.
  RC_ASSERT(message ==
            fmt::format("trace:{}: request_id: '{}' stands in line {} too, expected an id of its own "
                        "for each request",
                        again + 2, name, first + 2));
}

RC_GTEST_PROP(OpenTraceProperty, OneBrokenRowAnywhereIsNamedBeforeTheFirstIsHandedOut, ()) {
  auto lines = any_lines();
  const auto at = *rc::gen::inRange<std::size_t>(0, lines.size());
  const std::string broken =
      *rc::gen::element<std::string>("x,1,0,1,\n", "x,1,1,-1,\n", "x,?,1,1,\n", "x,1,1\n");
  lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), broken);
  ReadOptions options;
  options.hold_bytes = *rc::gen::element<std::size_t>(0, 1 << 20);
  const std::string message = input_error([&] { open_text(text_of(lines), options); });
  RC_ASSERT(message.starts_with(fmt::format("trace:{}: ", at + 2)));
}

}  // namespace
}  // namespace tessera
