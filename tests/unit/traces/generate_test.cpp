// Drawn arrivals, lengths and prefixes against their formulas. The bundled sample pins the bytes of one
// trace (gamma arrivals, quantile lengths).
#include "traces/generate.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/commands.hpp"
#include "traces/stats.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::Row;

std::vector<std::int64_t> arrivals(const ArrivalSpec& spec, int count, std::uint64_t seed = 1) {
  ArrivalProcess process(spec, seed);
  std::vector<std::int64_t> out;
  for (int i = 0; i < count; ++i) out.push_back(process.next_ps());
  return out;
}

GenerateSpec plain(std::int64_t requests) {
  GenerateSpec spec;
  spec.lengths = LengthSpec{"fixed:100", "fixed:10", ""};
  spec.requests = requests;
  return spec;
}

TEST(Arrivals, PeriodicNeverDrifts) {
  const auto at = arrivals({ArrivalSpec::Kind::periodic, 3, 1}, 300'001);
  EXPECT_EQ(at[0], 0);
  EXPECT_EQ(at[1], 333'333'333'333);
  EXPECT_EQ(at[300'000], 100'000 * kPsPerSecond);
}

TEST(Arrivals, MeanAndCvAreAsAsked) {
  // Standard error of a mean of n gaps is CV / sqrt(n), about 0.3 % here; of the CV itself a few times that.
  for (const auto& [kind, cv] :
       {std::pair{ArrivalSpec::Kind::poisson, 1.0}, std::pair{ArrivalSpec::Kind::gamma, 3.0},
        std::pair{ArrivalSpec::Kind::gamma, 0.4}}) {
    const auto at = arrivals({kind, 20, cv}, 100'000);
    double squares = 0;
    const double mean = to_s(Time{at.back()}) / (static_cast<double>(at.size()) - 1);
    for (std::size_t i = 1; i < at.size(); ++i) squares += std::pow(to_s(Time{at[i] - at[i - 1]}) - mean, 2);
    EXPECT_NEAR(mean * 20, 1, 5 * cv / std::sqrt(1e5));
    EXPECT_NEAR(std::sqrt(squares / 1e5) / mean, cv, 0.06 * cv) << to_string(kind);
  }
}

TEST(Arrivals, RefusesNonsense) {
  EXPECT_THROW(ArrivalProcess({ArrivalSpec::Kind::poisson, 0, 1}, 0), InputError);
  EXPECT_THROW(ArrivalProcess({ArrivalSpec::Kind::poisson, std::nan(""), 1}, 0), InputError);
  EXPECT_THROW(ArrivalProcess({ArrivalSpec::Kind::gamma, 1, -1}, 0), InputError);
  EXPECT_NE(input_error([] { parse_arrival_kind("poison"); }).find("did you mean 'poisson'"),
            std::string::npos);
  EXPECT_NE(input_error([] {
              arrivals({ArrivalSpec::Kind::periodic, 1e-7, 1}, 3);
            }).find("100 days"),
            std::string::npos);
}

// The share of 100,000 stratified draws of `text` that are at most `tokens`, and their mean.
struct Drawn {
  double mean = 0;
  std::vector<std::int32_t> sorted;
  [[nodiscard]] double quantile(double q) const {
    return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size()))];
  }
};
Drawn draw(const std::string& text) {
  const LengthCurve curve = LengthCurve::parse(text);
  Drawn out;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    out.sorted.push_back(curve.at((i + 0.5) / kDraws));
    out.mean += out.sorted.back() / static_cast<double>(kDraws);
  }
  EXPECT_TRUE(std::is_sorted(out.sorted.begin(), out.sorted.end())) << "an inverse CDF rises";
  return out;
}

TEST(Lengths, FixedIsFixed) { EXPECT_EQ(LengthCurve::parse("fixed:17").at(0.3), 17); }

TEST(Lengths, LognormalMeetsMeanAndCv) {
  const Drawn drawn = draw("lognormal:mean=1000,cv=0.5");
  double squares = 0;
  for (const auto tokens : drawn.sorted) squares += std::pow(tokens - drawn.mean, 2) / 1e5;
  EXPECT_NEAR(drawn.mean, 1000, 1);
  EXPECT_NEAR(std::sqrt(squares) / drawn.mean, 0.5, 0.005);
}

TEST(Lengths, LognormalMeetsQuantilesAndItsCut) {
  const Drawn drawn = draw("lognormal:p50=1000,p90=3000");
  EXPECT_NEAR(drawn.quantile(0.5), 1000, 1);
  EXPECT_NEAR(drawn.quantile(0.9), 3000, 3);
  const Drawn cut = draw("lognormal:p50=1000,p90=3000,max=2000");
  EXPECT_EQ(cut.sorted.back(), 2000);
  EXPECT_LT(cut.quantile(0.98), 1990) << "the tail is cut off, not piled up at the maximum";
}

TEST(Lengths, QuantilesAreMetExactlyAndSoIsTheMean) {
  const Drawn drawn = draw("quantiles:mean=1155,p50=1020,p90=2735,p99=4142,max=14050");
  EXPECT_NEAR(drawn.mean, 1155, 0.5);
  EXPECT_NEAR(drawn.quantile(0.5), 1020, 1);
  EXPECT_NEAR(drawn.quantile(0.9), 2735, 1);
  EXPECT_NEAR(drawn.quantile(0.99), 4142, 3);
  EXPECT_GE(drawn.sorted.front(), 1);
  EXPECT_NEAR(drawn.sorted.back(), 14'050, 50);
}

TEST(Lengths, ContradictionsAreRefused) {
  for (const char* text :
       {"", "fixed", "fixed:0", "fixed:-1", "fixed:many", "lognormal:mean=5", "lognormal:mean=5,p50=4",
        "lognormal:p50=5,p90=5", "lognormal:mean=5,cv=1,mean=6", "lognormal:mean=nan,cv=1", "quantiles:p50=5",
        "quantiles:p50=9,p90=5,max=20", "quantiles:p50=5,max=10,mean=11", "quantiles:p50=5,max=10,mean=1",
        "quantiles:p50=5,max=1e99", "uniform:1,2", "lognormal:p50=1000,p90=1001,max=1"})
    EXPECT_THROW(LengthCurve::parse(text), InputError) << text;
  EXPECT_NE(input_error([] { LengthCurve::parse("lognormal:mean=5,vc=1"); }).find("did you mean 'cv'"),
            std::string::npos);
}

TEST(Lengths, OfATraceKeepPairsTogether) {
  const std::string path = trace_testing::scratch_file("pairs.csv");
  std::ofstream(path) << "num_prefill_tokens,num_decode_tokens\n1,10\n2,20\n3,30\n";
  const LengthSampler sampler(LengthSpec{"", "", path});
  std::set<int> seen;
  for (const double u : {0.01, 0.3, 0.34, 0.6, 0.67, 0.99}) {
    const auto [input, output] = sampler.at(u, 0.5);
    EXPECT_EQ(output, 10 * input);
    seen.insert(input);
  }
  EXPECT_EQ(seen, (std::set<int>{1, 2, 3}));
}

TEST(Generate, StopsAtTheCountOrTheDuration) {
  EXPECT_EQ(trace_testing::all_rows(*generate_trace(plain(7))).size(), 7U);
  GenerateSpec timed = plain(1'000'000);
  timed.arrivals = {ArrivalSpec::Kind::periodic, 10, 1};
  timed.duration_s = 2.0;
  EXPECT_EQ(trace_testing::all_rows(*generate_trace(timed)).size(), 20U) << "0, 0.1, ... 1.9 s";
}

TEST(Generate, StratifiedLengthsTakeEachStratumOnce) {
  GenerateSpec spec = plain(200);
  spec.lengths = LengthSpec{"quantiles:min=1,max=2001", "quantiles:min=1,max=2001", ""};  // uniform
  spec.stratified = true;
  std::set<int> inputs;
  std::set<int> outputs;
  bool ordered = true;
  int before = 0;
  for (const Row& row : trace_testing::all_rows(*generate_trace(spec))) {
    inputs.insert((row.input_tokens - 1) / 10);
    outputs.insert((row.output_tokens - 1) / 10);
    ordered = ordered && row.input_tokens >= before;
    before = row.input_tokens;
  }
  // Rounding may push a draw over its stratum's edge now and then.
  EXPECT_GE(inputs.size(), 185U);
  EXPECT_GE(outputs.size(), 185U);
  EXPECT_FALSE(ordered) << "in random order";
}

TEST(Generate, ClassesShareTheirPrefixAndNothingElse) {
  GenerateSpec spec = plain(400);
  spec.lengths = LengthSpec{"quantiles:min=10,max=200", "fixed:5", ""};
  spec.classes = 3;
  spec.prefix_tokens = 70;  // 4 whole blocks of 16
  const auto trace = generate_trace(spec);
  EXPECT_EQ(trace->info().block_tokens, 16);
  std::map<std::uint64_t, std::pair<std::uint32_t, std::size_t>> owner;
  std::set<std::uint32_t> classes;
  for (const Row& row : trace_testing::all_rows(*trace)) {
    classes.insert(row.prompt_class);
    ASSERT_EQ(row.blocks.size(), static_cast<std::size_t>(row.input_tokens / 16)) << "whole blocks only";
    for (std::size_t i = 0; i < row.blocks.size(); ++i) {
      const auto [at, fresh] = owner.emplace(row.blocks[i], std::pair{row.prompt_class, i});
      EXPECT_TRUE(fresh || i < 4) << "blocks behind the prefix are a request's own";
      EXPECT_EQ(at->second, (std::pair{row.prompt_class, i})) << "a block has one class and one place";
    }
  }
  EXPECT_EQ(classes, (std::set<std::uint32_t>{0, 1, 2}));
}

TEST(Generate, ContradictionsAreRefused) {
  GenerateSpec spec;
  spec.lengths = LengthSpec{"fixed:1", "fixed:1", ""};
  EXPECT_NE(input_error([&] { generate_trace(spec); }).find("--requests"), std::string::npos);
  spec.duration_s = 5;
  spec.stratified = true;
  EXPECT_THROW(generate_trace(spec), InputError);
  spec = plain(0);
  EXPECT_THROW(generate_trace(spec), InputError);
  spec = plain(5);
  spec.prefix_tokens = 100;
  EXPECT_THROW(generate_trace(spec), InputError) << "a prefix without classes";
  spec.classes = 2;
  spec.prefix_tokens = 15;
  EXPECT_THROW(generate_trace(spec), InputError) << "less than a block";
  spec = plain(5);
  spec.duration_s = -1;
  EXPECT_THROW(generate_trace(spec), InputError);
}

TEST(Generate, SeedsGiveDifferentTracesAndStreamsAreApart) {
  GenerateSpec a = plain(50);
  a.lengths = LengthSpec{"lognormal:mean=500,cv=1", "lognormal:mean=100,cv=1", ""};
  GenerateSpec b = a;
  b.seed = 1;
  EXPECT_NE(trace_testing::all_rows(*generate_trace(a)), trace_testing::all_rows(*generate_trace(b)));
  GenerateSpec faster = a;
  faster.arrivals.rate = 9;
  const auto slow_rows = trace_testing::all_rows(*generate_trace(a));
  const auto fast_rows = trace_testing::all_rows(*generate_trace(faster));
  for (std::size_t i = 0; i < slow_rows.size(); ++i)
    EXPECT_EQ(slow_rows[i].input_tokens, fast_rows[i].input_tokens) << "arrivals do not disturb lengths";
}

// --- the bundled sample -------------------------------------------------------------------------

TraceGenerateOptions quickstart() {
  TraceGenerateOptions options;
  options.spec.arrivals = {ArrivalSpec::Kind::gamma, 5.53, 1.09};
  options.spec.lengths = LengthSpec{"quantiles:mean=1155,p50=1020,p90=2735,p99=4142,max=14050",
                                    "quantiles:mean=211,p50=129,p90=424,p99=601,max=1000", ""};
  options.spec.requests = 600;
  options.spec.stratified = true;
  options.spec.seed = 31;
  options.output = "-";
  options.comment = {
      "Follows the published statistics of the Azure LLM inference trace 2023 (conversation): 5.53 "
      "requests/s,",
      "inter-arrival CV 1.09, and mean, median, p90, p99 and maximum of input and output tokens. These are "
      "our own",
      "draws, not rows of that trace; the seed is the one of 1 to 60 whose draw comes nearest to rate and "
      "CV."};
  return options;
}
const std::string kQuickstart = std::string(TESSERA_SOURCE_DIR) + "/traces/samples/quickstart.csv";

TEST(Quickstart, IsWhatItsCommandLineDraws) {
  std::ifstream file(kQuickstart, std::ios::binary);
  ASSERT_TRUE(file) << kQuickstart;
  const std::string shipped{std::istreambuf_iterator<char>(file), {}};
  std::ostringstream drawn;
  std::ostringstream log;
  EXPECT_EQ(trace_generate(quickstart(), drawn, log), 0);
  EXPECT_TRUE(drawn.str() == shipped) << "the generator's draws have changed";
  EXPECT_NE(shipped.find("\n# " + command_line(quickstart().spec) + "\n"), std::string::npos);
}

TEST(Quickstart, HasTheStatisticsItFollows) {
  const auto trace = open_trace(kQuickstart);
  const auto s = trace_statistics(*trace);
  EXPECT_EQ(s.requests, 600);
  EXPECT_NEAR(s.rate, 5.53, 0.01 * 5.53);
  EXPECT_NEAR(s.gap_cv, 1.09, 0.02 * 1.09);
  EXPECT_NEAR(s.input.mean, 1155, 0.01 * 1155);
  EXPECT_NEAR(s.input.p50, 1020, 0.01 * 1020);
  EXPECT_NEAR(s.input.p90, 2735, 0.01 * 2735);
  EXPECT_NEAR(s.output.mean, 211, 0.01 * 211);
  EXPECT_NEAR(s.output.p50, 129, 0.02 * 129);
  EXPECT_NEAR(s.output.p90, 424, 0.01 * 424);
}

}  // namespace
}  // namespace tessera
