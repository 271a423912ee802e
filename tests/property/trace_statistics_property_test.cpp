// Statistics, lengths and generated traces against slow versions that follow their definitions word by word.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/generate.hpp"
#include "traces/key_trace.hpp"
#include "traces/stats.hpp"
#include "traces/writer.hpp"
#include "traces/zipf.hpp"

namespace tessera {
namespace {

using trace_testing::Row;

// numpy's default percentile: linear between order statistics of the sorted values.
double percentile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * (static_cast<double>(values.size()) - 1);
  const auto below = static_cast<std::size_t>(at);
  if (below + 1 >= values.size()) return values.back();
  return values[below] + (at - static_cast<double>(below)) * (values[below + 1] - values[below]);
}

RC_GTEST_PROP(LengthCountsProperty, EqualSortingAllValues, ()) {
  // Some beyond the dense table of 2^17 values.
  const auto lengths = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(
      rc::gen::oneOf(rc::gen::inRange(1, 50), rc::gen::inRange(1, 1 << 20))));
  LengthCounts counts;
  std::vector<double> values;
  std::int64_t total = 0;
  for (const int tokens : lengths) counts.add(tokens), values.push_back(tokens), total += tokens;
  const auto s = counts.summary();
  RC_ASSERT(s.total == total);
  RC_ASSERT(s.mean == static_cast<double>(total) / static_cast<double>(lengths.size()));
  RC_ASSERT(s.max == *std::max_element(lengths.begin(), lengths.end()));
  RC_ASSERT(s.p50 == percentile(values, 0.5));
  RC_ASSERT(s.p90 == percentile(values, 0.9));
  RC_ASSERT(s.p99 == percentile(values, 0.99));
}

// Rows in time order with few different blocks, so that prefixes meet.
std::vector<Row> any_rows() {
  const auto count = *rc::gen::inRange<std::size_t>(1, 30);
  std::vector<Row> rows;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) at += *rc::gen::inRange<std::int64_t>(0, 90 * kPsPerSecond);
    const int tokens = *rc::gen::inRange(1, 100);
    rows.push_back({at, tokens, *rc::gen::inRange(1, 50), 0, kNoSession, {}, "r" + std::to_string(i)});
    const auto blocks = *rc::gen::inRange<std::int64_t>(0, ceil_div(tokens, 16) + 1);
    for (std::int64_t b = 0; b < blocks; ++b)
      rows.back().blocks.push_back(*rc::gen::inRange<std::uint64_t>(0, 4));
  }
  return rows;
}

TraceStats statistics_of(const std::vector<Row>& rows) {
  TraceInfo info;
  info.block_tokens = 16;
  std::ostringstream out;
  const auto writer = make_writer("tessera", to_stream(out), info);
  for (const Row& row : rows)
    writer->write(
        {row.arrival_ps, row.input_tokens, row.output_tokens, 0, kNoSession, row.blocks, row.id, 0});
  writer->finish();
  return trace_statistics(*trace_testing::open_text(out.str()));
}

RC_GTEST_PROP(TraceStatsProperty, RatesAndGapsEqualTheirDefinitions, ()) {
  const auto rows = any_rows();
  const TraceStats s = statistics_of(rows);
  const double span = static_cast<double>(rows.back().arrival_ps) * 1e-12;
  RC_ASSERT(s.requests == static_cast<std::int64_t>(rows.size()));
  // A span is picoseconds turned to seconds: a rounding or two.
  RC_ASSERT(std::abs(s.span_s - span) <= 1e-12 * span);
  const double rate = span == 0 ? 0 : static_cast<double>(rows.size()) / span;
  RC_ASSERT(std::abs(s.rate - rate) <= 1e-12 * rate);
  double mean = 0, squares = 0, fullest = 0;
  const auto gaps = static_cast<double>(rows.size()) - 1;
  for (std::size_t i = 1; i < rows.size(); ++i)
    mean += static_cast<double>(rows[i].arrival_ps - rows[i - 1].arrival_ps) / gaps;
  for (std::size_t i = 1; i < rows.size(); ++i)
    squares += std::pow(static_cast<double>(rows[i].arrival_ps - rows[i - 1].arrival_ps) - mean, 2) / gaps;
  // Sums of at most 30 gaps in two orders.
  RC_ASSERT(std::abs(s.gap_cv - (mean > 0 ? std::sqrt(squares) / mean : 0)) <= 1e-9);
  for (const Row& row : rows) {
    const auto minute = row.arrival_ps / (60 * kPsPerSecond);
    fullest =
        std::max(fullest, static_cast<double>(std::count_if(rows.begin(), rows.end(), [&](const Row& r) {
                   return r.arrival_ps / (60 * kPsPerSecond) == minute;
                 })));
  }
  const double peak = span < 60 ? s.rate : fullest / 60;
  RC_ASSERT(s.peak_minute_rate == peak);
}

RC_GTEST_PROP(TraceStatsProperty, PrefixHitsEqualLookingThroughAllEarlierRows, ()) {
  const auto rows = any_rows();
  const TraceStats s = statistics_of(rows);
  std::int64_t references = 0, hits = 0, tokens = 0, prompts = 0, once = 0;
  std::multiset<std::uint64_t> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::int64_t own = 0;
    for (bool leading = true; const std::uint64_t block : rows[i].blocks) {
      leading = leading && all.contains(block);
      own += leading;
      all.insert(block);  // a block that stands twice in one prompt is known the second time
    }
    references += std::ssize(rows[i].blocks), hits += own, prompts += rows[i].input_tokens;
    tokens += std::min<std::int64_t>(16 * own, rows[i].input_tokens);
  }
  const std::set<std::uint64_t> different(all.begin(), all.end());
  for (const std::uint64_t block : different) once += all.count(block) == 1;
  RC_ASSERT(s.block_references == references);
  RC_ASSERT(s.unique_blocks == std::ssize(different));
  RC_ASSERT(s.blocks_used_once == once);
  RC_ASSERT(s.prefix_hit_blocks == hits);
  RC_ASSERT(s.prefix_hit_tokens == tokens);
  RC_ASSERT(s.prompt_tokens == prompts);
}

// --- lengths -------------------------------------------------------------------------------------

RC_GTEST_PROP(LengthCurveProperty, QuantilesRiseAndStayInTheirRange, ()) {
  int p50 = *rc::gen::inRange(1, 1'000);
  const int p90 = p50 + *rc::gen::inRange(1, 1'000);
  const int max = p90 + *rc::gen::inRange(1, 1'000);
  const std::string text = *rc::gen::element<std::string>(
      "quantiles:p50=" + std::to_string(p50) + ",p90=" + std::to_string(p90) + ",max=" + std::to_string(max),
      "lognormal:p50=" + std::to_string(p50) + ",p90=" + std::to_string(p90) + ",max=" + std::to_string(max));
  const LengthCurve curve = LengthCurve::parse(text);
  std::int32_t before = 1;
  for (int i = 0; i < 1'000; ++i) {
    const std::int32_t tokens = curve.at((i + 0.5) / 1'000);
    RC_ASSERT(tokens >= before);
    RC_ASSERT(tokens <= max);
    before = tokens;
  }
  if (text.starts_with("quantiles")) {
    RC_ASSERT(curve.at(0.5) == p50);
    RC_ASSERT(curve.at(0.9) == p90);
  }
}

TEST(LengthCurve, LettersAndCommasThatAreWrongAreNamed) {
  for (const auto& [text, mention] :
       {std::pair{"fixd:5", "did you mean 'fixed'"},
        {"fixed:2.5", "'2.5' is not a whole number"},
        {"fixed:100000001", "is too large"},
        {"lognormal:mean=5,cv", "'cv' is not understood"},
        {"lognormal:mean=5,cv=", "cv: '' is empty"},
        {"lognormal:mean=5,cv=-1", "cv: '-1' is negative"},
        {"lognormal:mean=0,cv=1", "mean: '0' is out of range, expected more than 0"},
        {"lognormal:mean=1e-320,cv=1", "nothing is left between 1 token and max"},
        {"lognormal:mean=1e309,cv=1", "mean: '1e309' is too large"},
        {"lognormal:p50=5,p90=50,mean=9", "expected either mean= and cv=, or p50= and p90="},
        {"quantiles:p50=5,p50=6,max=9", "p50 stands twice"},
        {"quantiles:p50=5,p95=4,max=9", "p95 is below the quantile before it"},
        {"quantiles:p50=5", "max= is missing"},
        {"quantiles:p49=5,max=9", "'p49=5' is not understood"}}) {
    const std::string message = trace_testing::input_error([&] { LengthCurve::parse(text); });
    EXPECT_TRUE(message.starts_with("lengths '" + std::string(text) + "': ")) << message;
    EXPECT_NE(message.find(mention), std::string::npos) << message;
  }
}

// --- generated traces ------------------------------------------------------------------------------

RC_GTEST_PROP(GenerateProperty, WrittenAndReadBackATraceIsTheSame, ()) {
  GenerateSpec spec;
  spec.arrivals = {
      *rc::gen::element(ArrivalSpec::Kind::poisson, ArrivalSpec::Kind::gamma, ArrivalSpec::Kind::periodic),
      *rc::gen::inRange(1, 1'000) / 10.0, *rc::gen::inRange(1, 50) / 10.0};
  spec.lengths = LengthSpec{"lognormal:mean=300,cv=1", "quantiles:p50=20,max=90", ""};
  spec.requests = *rc::gen::inRange<std::int64_t>(1, 60);
  spec.stratified = *rc::gen::arbitrary<bool>();
  spec.seed = *rc::gen::arbitrary<std::uint64_t>();
  spec.classes = *rc::gen::inRange(0, 4);
  spec.block_tokens = *rc::gen::element(16, 32);
  spec.prefix_tokens = spec.classes == 0 ? 0 : *rc::gen::inRange(32, 400);
  const auto trace = generate_trace(spec);
  const auto rows = trace_testing::all_rows(*trace);
  RC_ASSERT(std::ssize(rows) == *spec.requests);
  RC_ASSERT(trace_testing::all_rows(*generate_trace(spec)) == rows);
  std::ostringstream out;
  const auto writer = make_writer("tessera", to_stream(out), trace->info());
  std::int64_t before = 0;
  for (const Row& row : rows) {
    RC_ASSERT(row.arrival_ps >= before);
    before = row.arrival_ps;
    writer->write({row.arrival_ps, row.input_tokens, row.output_tokens, row.prompt_class, kNoSession,
                   row.blocks, row.id, 0});
  }
  writer->finish();
  auto read = trace_testing::rows_of(out.str());
  for (std::size_t i = 0; i < read.size(); ++i) {
    RC_ASSERT(read[i].id == std::to_string(i));
    read[i].id.clear();
  }
  RC_ASSERT(read == rows);
}

RC_GTEST_PROP(GenerateProperty, MoreRequestsBeginWithTheFewer, ()) {
  GenerateSpec few;
  few.lengths = LengthSpec{"lognormal:mean=300,cv=1", "lognormal:mean=30,cv=2", ""};
  few.seed = *rc::gen::arbitrary<std::uint64_t>();
  few.requests = *rc::gen::inRange<std::int64_t>(1, 40);
  GenerateSpec many = few;
  many.requests = *few.requests + *rc::gen::inRange<std::int64_t>(1, 40);
  const auto a = trace_testing::all_rows(*generate_trace(few));
  const auto b = trace_testing::all_rows(*generate_trace(many));
  RC_ASSERT(std::equal(a.begin(), a.end(), b.begin()));
}

// --- cache keys ----------------------------------------------------------------------------------------

// Next accesses by looking ahead from each record, from the written bytes alone.
RC_GTEST_PROP(ZipfProperty, EveryRecordNamesItsKeysNextAccess, ()) {
  ZipfSpec spec;
  spec.requests = *rc::gen::inRange<std::int64_t>(1, 200);
  spec.objects = *rc::gen::inRange<std::int64_t>(1, 40);
  spec.alpha = *rc::gen::inRange(0, 30) / 10.0;
  spec.seed = *rc::gen::arbitrary<std::uint64_t>();
  std::ostringstream out, log;
  trace_zipf(spec, "-", out, log);
  const std::string bytes = out.str();
  const auto reader = open_keys(Source{"drawn", std::string_view(bytes)}, "oracle");
  std::vector<KeyAccess> all;
  for (KeyAccess access; reader->next(access);) all.push_back(access);
  RC_ASSERT(std::ssize(all) == spec.requests);
  for (std::size_t i = 0; i < all.size(); ++i) {
    RC_ASSERT(all[i].key >= 1 && all[i].key <= static_cast<std::uint64_t>(spec.objects));
    std::int64_t next = kNeverAgain;
    for (std::size_t j = all.size(); --j > i;)
      if (all[j].key == all[i].key) next = static_cast<std::int64_t>(j);
    RC_ASSERT(all[i].next_access == next);
  }
}

TEST(OracleKeys, CutOffAnywhereButBetweenRecordsIsAnErrorWithItsRecord) {
  ZipfSpec spec;
  spec.requests = 5, spec.objects = 3;
  std::ostringstream out, log;
  trace_zipf(spec, "-", out, log);
  for (std::size_t kept = 1; kept < out.str().size(); ++kept) {
    if (kept % 24 == 0) continue;
    const std::string cut = out.str().substr(0, kept);
    const std::string message = trace_testing::input_error([&] {
      const auto reader = open_keys(Source{"keys", std::string_view(cut)}, "oracle");
      for (KeyAccess access; reader->next(access);) {
      }
    });
    EXPECT_TRUE(message.starts_with("keys: record " + std::to_string(kept / 24) + " is cut off")) << message;
  }
}

}  // namespace
}  // namespace tessera
