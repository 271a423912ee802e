// Small parts of the memory room: copies of equal content, who survives a beam step, dense traces, large
// pages.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/memory/beam_survival.hpp"
#include "sim/memory/content_copies.hpp"
#include "sim/memory/dense_trace.hpp"
#include "sim/memory/huge_pages.hpp"

namespace tessera {
namespace {

TEST(ContentCopies, CountsEveryCopyBeyondTheFirstOfAContent) {
  ContentCopies copies;
  const std::vector<std::uint64_t> a{1, 2, 3}, b{1, 2, 9};
  copies.arrive(0, a);
  copies.arrive(1, b);
  copies.arrive(2, a);
  EXPECT_EQ(copies.duplicates(), 0) << "who has arrived holds nothing yet";
  copies.hold(0, 3);
  copies.hold(1, 2);
  EXPECT_EQ(copies.duplicates(), 2);
  copies.hold(2, 3);
  EXPECT_EQ(copies.duplicates(), 5) << "1 and 2 three times, 3 twice";
  copies.leave(0);
  EXPECT_EQ(copies.duplicates(), 2) << "the copy that stays is the first now";
  copies.leave(2);
  copies.leave(1);
  EXPECT_EQ(copies.duplicates(), 0);
}

TEST(ContentCopies, AgreesWithACountOfAllThatIsHeld) {
  EXPECT_TRUE(rc::check([] {
    constexpr std::uint32_t kSlots = 5;
    ContentCopies copies;
    std::vector<std::vector<std::uint64_t>> prompts(kSlots);
    std::vector<std::size_t> held(kSlots, 0);
    for (int i = *rc::gen::inRange(1, 60); i > 0; --i) {
      const auto slot = *rc::gen::inRange<std::uint32_t>(0, kSlots);
      switch (*rc::gen::inRange(0, 3)) {
        case 0:  // a new request, once the one before has left
          copies.leave(slot);
          held[slot] = 0;
          prompts[slot] =
              *rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange<std::uint64_t>(1, 9));
          copies.arrive(slot, prompts[slot]);
          break;
        case 1: {  // it grows, maybe past the blocks it has names for
          const auto to = *rc::gen::inRange<std::size_t>(0, 12);
          copies.hold(slot, static_cast<std::int64_t>(to));
          held[slot] = std::max(held[slot], std::min(to, prompts[slot].size()));
          break;
        }
        default:  // it gives way and may come back
          copies.leave(slot);
          held[slot] = 0;
      }
      std::map<std::uint64_t, std::int64_t> count;
      for (std::uint32_t s = 0; s < kSlots; ++s)
        for (std::size_t b = 0; b < held[s]; ++b) ++count[prompts[s][b]];
      std::int64_t duplicates = 0;
      for (const auto& [content, times] : count) duplicates += times - 1;
      RC_ASSERT(copies.duplicates() == duplicates);
    }
  }));
}

TEST(BeamSurvival, AtOneEveryBeamContinuesItselfAndAtZeroNone) {
  sim::RandomStream random(7, 0);
  std::vector<std::uint32_t> parents(8);
  for (int step = 0; step < 100; ++step) {
    EXPECT_FALSE(BeamSurvival(1).step(random, parents));
    for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(parents[i], i);
    EXPECT_TRUE(BeamSurvival(0).step(random, parents));
    for (std::uint32_t i = 0; i < 8; ++i) {
      EXPECT_NE(parents[i], i) << "a beam that is dropped is replaced by another's branch";
      EXPECT_LT(parents[i], 8u);
    }
  }
}

TEST(BeamSurvival, ALoneBeamHasNobodyToBranchFrom) {
  sim::RandomStream random(7, 0);
  std::vector<std::uint32_t> parents(1, 9);
  EXPECT_FALSE(BeamSurvival(0).step(random, parents));
  EXPECT_EQ(parents[0], 0u);
}

// Shares of 40,000 draws: a standard deviation is at most sqrt(0.25 / 40,000) = 0.25 %; five of them allowed.
TEST(BeamSurvival, KeepsItsShareAndTakesEveryOtherBeamAlike) {
  sim::RandomStream random(11, 0);
  const BeamSurvival survival(0.7);
  constexpr int kSteps = 10'000;
  constexpr std::uint32_t kBeams = 4;
  std::vector<std::uint32_t> parents(kBeams);
  std::vector<std::vector<int>> from(kBeams, std::vector<int>(kBeams, 0));
  for (int step = 0; step < kSteps; ++step) {
    survival.step(random, parents);
    for (std::uint32_t i = 0; i < kBeams; ++i) ++from[i][parents[i]];
  }
  double kept = 0;
  for (std::uint32_t i = 0; i < kBeams; ++i) kept += from[i][i];
  EXPECT_NEAR(kept / (kBeams * kSteps), 0.7, 5 * 0.0025);
  for (std::uint32_t i = 0; i < kBeams; ++i)
    for (std::uint32_t j = 0; j < kBeams; ++j)
      if (i != j) {
        EXPECT_NEAR(from[i][j] / double{kSteps}, 0.1, 5 * std::sqrt(0.09 / kSteps)) << i << " from " << j;
      }
}

TEST(DenseTrace, RequestsKeepTheirBlocksTimesAndSessions) {
  DenseTrace trace;
  const std::vector<std::uint64_t> first{70, 80}, second{}, third{80, 90, 70};
  trace.add_request(first, 5, 3);
  trace.add_request(second, 6);
  trace.add_request(third, 9, 4);
  const auto ids = [&trace](std::size_t i) {
    const auto span = trace.request(i);
    return std::vector<std::uint32_t>(span.begin(), span.end());
  };
  EXPECT_EQ(ids(0), (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(ids(1), std::vector<std::uint32_t>{});
  EXPECT_EQ(ids(2), (std::vector<std::uint32_t>{1, 2, 0}));
  EXPECT_EQ(trace.distinct(), 3u);
  EXPECT_EQ(trace.session(0), 3u);
  EXPECT_EQ(trace.session(1), DenseTrace::kNoSession);
  EXPECT_EQ(trace.session(2), 4u);
  EXPECT_EQ(trace.session(99), DenseTrace::kNoSession);
  EXPECT_TRUE(trace.has_times());
  EXPECT_EQ(trace.time_ns(2), 9);
  EXPECT_TRUE(trace.sizes().empty()) << "blocks are all alike";
}

TEST(DenseTrace, AKeyThatChangesItsSizeKeepsItsFirst) {
  DenseTrace trace;
  trace.add_key(42, 100);
  trace.add_key(7, 5);
  trace.add_key(42, 999);
  EXPECT_TRUE(trace.keyed());
  EXPECT_EQ(trace.requests(), 3u);
  EXPECT_EQ(std::vector<std::uint32_t>(trace.sizes().begin(), trace.sizes().end()),
            (std::vector<std::uint32_t>{100, 5}));
  EXPECT_EQ(trace.request(2).front(), trace.request(0).front());
  EXPECT_FALSE(trace.has_times());
  EXPECT_FALSE(trace.has_sessions());
}

// Around the size from which whole 2 MiB pages are asked for.
TEST(HugePages, AVectorOfAnySizeIsAVector) {
  for (const std::size_t bytes : {1, 64, 262'143, 262'144, 262'145, 2 << 20, (2 << 20) + 1, 5 << 20}) {
    HugeVector<std::uint8_t> v(bytes, 1);
    v.front() = 2, v.back() = 3;
    const HugeVector<std::uint8_t> copy = v;
    v.resize(bytes * 2, 9);
    EXPECT_EQ(copy.back(), 3) << bytes;
    EXPECT_EQ(v[bytes - 1], 3) << bytes;
    EXPECT_EQ(v.back(), 9) << bytes;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(v.data()) % 64, 0u) << "on a cache line";
  }
  HugeVector<std::uint64_t> large(1 << 20);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % (2 << 20), 0u) << "on a page of its size";
}

}  // namespace
}  // namespace tessera
