#include "sim/engine/random.hpp"

#include <gtest/gtest.h>

#include <boost/random/exponential_distribution.hpp>
#include <boost/random/gamma_distribution.hpp>
#include <boost/random/uniform_int_distribution.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <set>

namespace tessera::sim {
namespace {

static_assert(std::uniform_random_bit_generator<RandomStream>);

// Known answers published with Random123 (kat_vectors, philox4x32 10).
TEST(Random, PhiloxGivesThePublishedAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, AStreamReadsTheBlocksOfItsSeedAndEntityInOrder) {
  RandomStream stream(0x299f31d0a4093822, 0x0370734413198a2e);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const PhiloxBlock words = philox({block, 0, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
    EXPECT_EQ(stream(), words[0] | std::uint64_t{words[1]} << 32U);
    EXPECT_EQ(stream(), words[2] | std::uint64_t{words[3]} << 32U);
  }
}

TEST(Random, DiscardingEqualsDrawing) {
  for (int before = 0; before < 3; ++before) {
    for (int skip = 0; skip < 6; ++skip) {
      RandomStream drawn(1, 2);
      RandomStream skipped(1, 2);
      for (int i = 0; i < before; ++i) {
        drawn();
        skipped();
      }
      for (int i = 0; i < skip; ++i) drawn();
      skipped.discard(static_cast<std::uint64_t>(skip));
      for (int i = 0; i < 5; ++i) ASSERT_EQ(drawn(), skipped()) << before << " then " << skip;
    }
  }
}

TEST(Random, EveryEntityAndEverySeedHasItsOwnStream) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::uint64_t entity = 0; entity < 20; ++entity) {
      RandomStream stream(seed, entity);
      for (int i = 0; i < 20; ++i) seen.insert(stream());
    }
  }
  EXPECT_EQ(seen.size(), 20u * 20u * 20u);
}

TEST(Random, WhatOneEntityDrawsDoesNotShiftAnother) {
  RandomStream alone(5, 1);
  RandomStream other(5, 2);
  RandomStream beside(5, 1);
  for (int i = 0; i < 10; ++i) {
    const auto expected = alone();
    other();
    ASSERT_EQ(beside(), expected);
  }
}

// A stream of bits as good as random: the mean of n uniform 64-bit draws lies within 5 standard errors.
TEST(Random, DrawsAreUniform) {
  RandomStream stream(3, 0);
  constexpr int kDraws = 200'000;
  double sum = 0;
  std::array<int, 64> set_bits{};
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t draw = stream();
    sum += std::ldexp(static_cast<double>(draw >> 11U), -53);
    for (std::size_t bit = 0; bit < 64; ++bit) set_bits[bit] += static_cast<int>(draw >> bit & 1U);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  for (const int count : set_bits) EXPECT_NEAR(count, kDraws / 2, 5 * std::sqrt(kDraws / 4.0));
}

TEST(Random, BoostDistributionsHaveTheirMoments) {
  RandomStream stream(11, 4);
  boost::random::exponential_distribution<double> exponential(0.25);  // mean 4
  boost::random::gamma_distribution<double> gamma(0.5, 8.0);          // mean 4, variance 32
  boost::random::uniform_int_distribution<int> dice(1, 6);
  constexpr int kDraws = 100'000;
  double exponentials = 0;
  double gammas = 0;
  double pips = 0;
  for (int i = 0; i < kDraws; ++i) {
    exponentials += exponential(stream);
    gammas += gamma(stream);
    pips += dice(stream);
  }
  EXPECT_NEAR(exponentials / kDraws, 4, 5 * 4 / std::sqrt(kDraws));
  EXPECT_NEAR(gammas / kDraws, 4, 5 * std::sqrt(32.0 / kDraws));
  EXPECT_NEAR(pips / kDraws, 3.5, 5 * std::sqrt(35.0 / 12 / kDraws));
}

// FNV-1a over the bytes of many draws. A change here changes every seeded result: say so in the log.
class Fnv {
 public:
  void feed(std::uint64_t word) {
    for (int byte = 0; byte < 8; ++byte) hash_ = (hash_ ^ (word >> (8 * byte) & 0xffU)) * 0x100000001b3;
  }
  [[nodiscard]] std::uint64_t hash() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

// The value was computed by a second implementation of Philox, written apart from this one.
TEST(Random, GoldenHashPinsTheStream) {
  Fnv fnv;
  RandomStream stream(2026, 7);
  for (int i = 0; i < 1000; ++i) fnv.feed(stream());
  EXPECT_EQ(fnv.hash(), 0x0d9b4f93a0b2ef8dU);
}

// Recorded with Boost 1.74; the distributions' moments are tested above.
TEST(Random, GoldenHashPinsTheDistributions) {
  Fnv fnv;
  RandomStream stream(2026, 7);
  boost::random::uniform_int_distribution<std::int64_t> length(1, 131072);
  boost::random::exponential_distribution<double> gap(5.53);
  for (int i = 0; i < 1000; ++i) {
    fnv.feed(static_cast<std::uint64_t>(length(stream)));
    // Whole microseconds: the last bits of a logarithm may differ between C libraries.
    fnv.feed(static_cast<std::uint64_t>(std::llround(gap(stream) * 1e6)));
  }
  EXPECT_EQ(fnv.hash(), 10038178253227757435U);
}

}  // namespace
}  // namespace tessera::sim
