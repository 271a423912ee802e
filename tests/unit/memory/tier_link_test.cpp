#include "sim/memory/tiers/tier_link.hpp"

#include <gtest/gtest.h>

#include "models/base/error.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kUs = 1'000'000;  // picoseconds

// 10 GB/s toward the GPU, 8 away, 15 both ways: 10 kB take 1 us up, 1.25 us down.
TierLink link(std::int64_t latency_us = 0, std::int64_t copy_us = 0, double both = 15) {
  TierLink::Spec spec;
  spec.name = "test link";
  spec.gb_s = {10, 8};
  spec.both_gb_s = both;
  spec.peak_gb_s = 12;
  spec.latency_ps = latency_us * kUs;
  spec.copy_ps = copy_us * kUs;
  return TierLink(spec);
}

TEST(TierLink, ALoneTransferTakesLatencyAndBytesOverRate) {
  TierLink l = link(3);
  const auto t = l.submit(Direction::read, 4, 10'000, 0, 0);
  EXPECT_EQ(t.first_ps, (3 + 1) * kUs) << "the first piece";
  EXPECT_EQ(t.end_ps, (3 + 4) * kUs);
  EXPECT_EQ(l.duration(Direction::write, 4, 10'000), 5 * kUs);
  EXPECT_EQ(l.use(Direction::read).bytes, 40'000);
  EXPECT_EQ(l.use(Direction::read).busy_ps, 4 * kUs) << "latency does not keep the link busy";
}

TEST(TierLink, SmallPiecesTakeTheTimeOfACopy) {
  TierLink l = link(0, 2);
  EXPECT_EQ(l.duration(Direction::read, 10, 100), 20 * kUs);
  EXPECT_EQ(l.duration(Direction::read, 10, 20'000), 20 * kUs) << "where both are equal";
  EXPECT_EQ(l.duration(Direction::read, 10, 40'000), 40 * kUs) << "copies are issued while others move";
}

TEST(TierLink, TransfersOfOneDirectionQueue) {
  TierLink l = link(5);
  EXPECT_EQ(l.submit(Direction::read, 2, 10'000, 0, 0).end_ps, 7 * kUs);
  EXPECT_EQ(l.submit(Direction::read, 2, 10'000, kUs, kUs).end_ps, 9 * kUs)
      << "latencies overlap, bytes do not";
  EXPECT_EQ(l.use(Direction::read).queued_ps, kUs);
  EXPECT_EQ(l.backlog_ps(Direction::read, kUs), 3 * kUs);
  EXPECT_EQ(l.backlog_ps(Direction::write, kUs), 0);
}

TEST(TierLink, WhatComesLaterGetsWhatBothDirectionsLeave) {
  TierLink l = link();
  EXPECT_EQ(l.submit(Direction::read, 10, 10'000, 0, 0).end_ps, 10 * kUs) << "reserved first: its own rate";
  // 15 - 10 = 5 GB/s until 10 us: 50 of the 90 kB; then 8 GB/s for 40 kB.
  EXPECT_EQ(l.submit(Direction::write, 9, 10'000, 0, 0).end_ps, 15 * kUs);
}

TEST(TierLink, AHalfDuplexDeviceServesOneDirectionAtATime) {
  TierLink l = link(0, 0, 10);
  l.submit(Direction::read, 10, 10'000, 0, 0);
  EXPECT_EQ(l.submit(Direction::write, 8, 10'000, 0, 0).end_ps, 20 * kUs) << "nothing is left until 10 us";
}

TEST(TierLink, LaterReservationsDoNotBlockWhatFitsBefore) {
  TierLink l = link();
  l.submit(Direction::read, 5, 10'000, 0, 20 * kUs);
  EXPECT_EQ(l.submit(Direction::read, 5, 10'000, 0, 0).end_ps, 5 * kUs);
  // 15 us free before, 5 taken, the rest behind.
  EXPECT_EQ(l.submit(Direction::read, 20, 10'000, 0, 0).end_ps, 30 * kUs);
  EXPECT_EQ(l.use(Direction::read).busy_ps, 30 * kUs);
}

TEST(TierLink, AnEstimateIsWhatSubmittingGivesAndReservesNothing) {
  TierLink l = link(2, 1);
  l.submit(Direction::read, 7, 9'000, 0, 3 * kUs);
  l.submit(Direction::write, 7, 9'000, 0, 5 * kUs);
  const auto guess = l.estimate(Direction::read, 6, 5'000, 4 * kUs);
  const auto again = l.estimate(Direction::read, 6, 5'000, 4 * kUs);
  const auto real = l.submit(Direction::read, 6, 5'000, 4 * kUs, 4 * kUs);
  EXPECT_EQ(guess.end_ps, real.end_ps);
  EXPECT_EQ(guess.first_ps, real.first_ps);
  EXPECT_EQ(again.end_ps, real.end_ps);
}

TEST(TierLink, NothingToMoveIsThereAtOnce) {
  TierLink l = link(9);
  EXPECT_EQ(l.submit(Direction::read, 0, 10, 0, 5).end_ps, 5);
  EXPECT_EQ(l.use(Direction::read).transfers, 0);
}

TEST(TierLink, ABacklogPastTheEndOfTimeIsAnErrorAndNoHang) {
  TierLink l = link();
  EXPECT_THROW(l.submit(Direction::read, std::int64_t{1} << 40, std::int64_t{1} << 30, 0, 0), RunError);
  EXPECT_THROW(static_cast<void>(l.duration(Direction::read, std::int64_t{1} << 40, 1 << 30)), RunError);
}

TEST(TierDevice, RatesByPieceFollowTheAnchorsOfTheH100) {
  const auto dma = read_config<TierDevice>("tiers", "pcie5-h100");
  EXPECT_NEAR(dma.read_rate(2 << 20), 50, 50 * 0.08) << "S11-07, one way at 2 MB";
  EXPECT_NEAR(dma.both_gb_s, 83.4, 83.4 * 0.08);
  EXPECT_NEAR(dma.read_rate(64 << 10) / 64, 0.22, 0.022) << "S11-09: pages of 32 tokens without gather";
  EXPECT_LT(dma.read_rate(32 << 10), 50.0 / 4)
      << "K or V of one layer, 16 tokens: an order of magnitude less";
  TierLink l(dma, 1);
  // Equal streams of 2 MB blocks both ways, once both run.
  l.submit(Direction::read, 2000, 2 << 20, 0, 0);
  const auto write = l.submit(Direction::write, 1000, 2 << 20, 0, 0);
  const double both = 3000.0 * (2 << 20) / (static_cast<double>(write.end_ps) * 1e-12) * 1e-9;
  EXPECT_LE(both, 134.0);
  EXPECT_EQ(host_link_of(26.3, "x").read_gb_s, 26.3);
}

TEST(TierDevice, EveryPresetReadsAndIsNamedAfterItself) {
  for (const std::string& name : config_names("tiers")) {
    const auto device = read_config<TierDevice>("tiers", name);
    EXPECT_EQ(device.name, name);
    EXPECT_FALSE(device.title.empty()) << name;
    EXPECT_GE(device.peak(), device.read_gb_s) << name;
  }
}

TEST(TierDevice, RefusesWhatCannotMove) {
  const auto reads = [](const std::string& text) {
    TierDevice device;
    read_spec(parse_yaml(text, "d.yaml"), device);
  };
  EXPECT_THROW(reads("{read_gb_s: 0, write_gb_s: 1, both_gb_s: 1}"), InputError);
  EXPECT_THROW(reads("{read_gb_s: .nan, write_gb_s: 1, both_gb_s: 1}"), InputError);
  EXPECT_THROW(reads("{read_gb_s: -4, write_gb_s: 1, both_gb_s: 1}"), InputError);
  EXPECT_THROW(reads("{read_gb_s: 4, write_gb_s: 1}"), InputError) << "no rate for both directions";
  EXPECT_THROW(reads("{read_gb_s: 4, write_gb_s: 1, both_gb_s: 3}"), InputError) << "slower than one";
  EXPECT_THROW(reads("{read_gb_s: 4, write_gb_s: 1, both_gb_s: 5, peak_gb_s: 3}"), InputError);
  EXPECT_THROW(reads("{read_gb_s: 4, write_gb_s: 1, both_gb_s: 5, latency_us: 1e12}"), InputError);
  EXPECT_THROW(reads("{read_gb_s: 4, write_gb_s: 1, both_gb_s: 5, speed: 3}"), InputError);
  EXPECT_NO_THROW(reads("{read_gb_s: 4, write_gb_s: 1, both_gb_s: 5, latency_us: 6e7}"));
}

}  // namespace
}  // namespace tessera
