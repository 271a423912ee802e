// KV blocks scattered over a GPU's memory, seen by one channel.
#include "sim/memory/hbm/gather.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "models/base/error.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

using Place = std::tuple<int, int, std::uint32_t>;  // pseudo-channel, bank, row
Place place(const HbmRequest& r) { return {r.pseudo_channel, r.bank, r.row}; }

HbmRun gather(const HbmSpec& memory, const HbmGatherSpec& spec, std::int64_t requests = 60'000) {
  HbmChannel channel(memory);
  return run_saturated(channel, HbmGather(memory, spec), requests);
}
double activates_per_kib(const HbmRun& run) {
  return static_cast<double>(run.activates()) * 32 / static_cast<double>(run.requests());
}
double percent(const HbmSpec& memory, const HbmRun& run) { return figures_of(memory, run).percent_of_peak; }

TEST(HbmGatherAddresses, ABlockOfOneChunkIsTwoRunsInTwoBankGroups) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  HbmGather pattern(memory, {.block_bytes = 256});
  std::set<Place> rows;
  for (int block = 0; block < 1000; ++block) {
    HbmRequest chunk[8];
    for (HbmRequest& request : chunk) request = pattern.next();
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(place(chunk[i]), place(chunk[i / 4 * 4]));
      EXPECT_EQ(chunk[i].column, chunk[i / 4 * 4].column + i % 4);
      EXPECT_EQ(chunk[i].pseudo_channel, chunk[0].pseudo_channel);
    }
    EXPECT_NE(chunk[0].bank / memory.organisation.banks, chunk[4].bank / memory.organisation.banks);
    rows.insert(place(chunk[0]));
  }
  EXPECT_GT(rows.size(), 990u);  // of 262,144 places: hardly a row twice
}

TEST(HbmGatherAddresses, BlocksSmallerThanAChunkStayInside) {
  HbmGather pattern(load_hbm("hbm3-6.4"), {.block_bytes = 64});
  for (int block = 0; block < 1000; ++block) {
    const HbmRequest first = pattern.next(), second = pattern.next();
    EXPECT_EQ(place(first), place(second));
    EXPECT_EQ(first.column % 2, 0);
    EXPECT_EQ(second.column, first.column + 1);
  }
}

// One stream, so a block's requests come together: a block of many rounds leaves one chunk per round of
// channels, which fill pairs of rows in both pseudo-channels.
TEST(HbmGatherAddresses, ALargeBlockReadsWholeRowsOnce) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  HbmGather pattern(memory, {.block_bytes = 1 << 22, .channels = 16, .streams = 1});
  std::map<Place, std::set<int>> columns;
  constexpr int kRequests = (1 << 22) / 16 / 32;  // this channel's share of a block
  for (int i = 0; i < 4 * kRequests; ++i) {
    const HbmRequest r = pattern.next();
    columns[place(r)].insert(r.column);
  }
  int whole = 0;
  for (const auto& [row, seen] : columns) whole += seen.size() == 32;
  EXPECT_GT(whole, 0.9 * static_cast<double>(columns.size()));
}

TEST(HbmGatherAddresses, EveryBankAndHalfIsUsedAlike) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  HbmGather pattern(memory, {.block_bytes = 2048});
  std::map<std::pair<int, int>, int> requests;
  constexpr int kRequests = 256'000;
  for (int i = 0; i < kRequests; ++i) {
    const HbmRequest r = pattern.next();
    ++requests[{r.pseudo_channel, r.bank}];
  }
  ASSERT_EQ(requests.size(), 64u);
  for (const auto& [bank, count] : requests) EXPECT_NEAR(count, kRequests / 64, 0.2 * kRequests / 64);
}

TEST(HbmGatherAddresses, WhatCannotBeLaidOutIsRefused) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  EXPECT_THROW(HbmGather(memory, {.block_bytes = 100}), InputError);
  EXPECT_THROW(HbmGather(memory, {.block_bytes = 0}), InputError);
  EXPECT_THROW(HbmGather(memory, {.chunk_bytes = 96}), InputError);
  EXPECT_THROW(HbmGather(memory, {.channels = 0}), InputError);
  EXPECT_THROW(HbmGather(memory, {.block_bytes = std::int64_t{1} << 50}), InputError);
}

// A burst alone pays for an activate of its own; a run of four or more amortises it.
TEST(HbmGatherEfficiency, SmallPiecesPayAnActivateEach) {
  for (const char* name : {"hbm2-2.0", "hbm3-6.4"}) {
    const HbmSpec memory = load_hbm(name);
    const HbmRun one = gather(memory, {.block_bytes = 32});
    const HbmRun two = gather(memory, {.block_bytes = 64});
    const HbmRun four = gather(memory, {.block_bytes = 128});
    EXPECT_NEAR(activates_per_kib(one), 32, 0.5);
    EXPECT_NEAR(activates_per_kib(two), 16, 0.5);
    EXPECT_NEAR(activates_per_kib(four), 8, 0.5);
    EXPECT_GT(percent(memory, two), 1.8 * percent(memory, one));
    EXPECT_GT(percent(memory, four), 1.3 * percent(memory, two));
  }
}

// The KV blocks engines use are at least a chunk, so a gather never costs more row changes than any other
// traffic of many thread blocks: 8B and 70B (one head a rank) at 1 to 256 tokens stay within 4 points.
TEST(HbmGatherEfficiency, KvBlocksOfOneTokenCostNoMoreThanLargeOnes) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  const std::pair<const char*, std::int64_t> cases[] = {{"llama-3.1-8b", 1}, {"llama-3.1-70b", 8}};
  for (const auto& [name, tp] : cases) {
    const Model model = load_model(name);
    const std::int64_t token =
        make_kv_layout(model, resolve_kv_precision(model, "auto"), tp).groups[0].entry_bytes / 2;
    double low = 100, high = 0;
    for (const std::int64_t tokens : {1, 16, 64, 256}) {
      const double reached = percent(memory, gather(memory, {.block_bytes = tokens * token}));
      low = std::min(low, reached);
      high = std::max(high, reached);
    }
    EXPECT_LT(high - low, 4) << name;
    EXPECT_GT(low, 80) << name;
  }
}

// One thread block alone keeps its rows open, and then block size does matter.
TEST(HbmGatherEfficiency, ALoneStreamOfLargeBlocksKeepsItsRowsOpen) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  const HbmRun small = gather(memory, {.block_bytes = 4096, .streams = 1});
  const HbmRun large = gather(memory, {.block_bytes = 1 << 20, .streams = 1});
  EXPECT_LT(activates_per_kib(large), 0.25 * activates_per_kib(small));
  EXPECT_GT(percent(memory, large), percent(memory, small) + 3);
}

TEST(HbmGatherCurveTest, PassesThroughItsPointsAndIsLinearInTheLogarithmBetween) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  const HbmGatherCurve curve(memory, {}, 10'000);
  const auto& points = curve.points();
  ASSERT_GT(points.size(), 10u);
  for (const auto& point : points)
    EXPECT_DOUBLE_EQ(curve.efficiency(point.block_bytes), point.fraction_of_peak);
  EXPECT_EQ(points.front().block_bytes, 32);
  EXPECT_NEAR(curve.efficiency(45), (points[0].fraction_of_peak + points[1].fraction_of_peak) / 2, 0.01);
  EXPECT_DOUBLE_EQ(curve.efficiency(std::int64_t{1} << 40), points.back().fraction_of_peak);
  EXPECT_DOUBLE_EQ(curve.efficiency(8),
                   points.front().fraction_of_peak / 4);  // a quarter of the burst is wanted
}

TEST(HbmGatherCurveTest, ShortRunsGiveTheFiguresOfLongOnes) {
  const HbmSpec memory = load_hbm("hbm3-6.4");
  const double brief = percent(memory, gather(memory, {.block_bytes = 4096}, 30'000));
  EXPECT_NEAR(brief, percent(memory, gather(memory, {.block_bytes = 4096}, 300'000)), 1);
}

}  // namespace
}  // namespace tessera
