// A device KV moves over: bandwidth by size of piece, what its rates must satisfy, and the GPU's own link.
#include "models/hardware/tier_device.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "models/base/error.hpp"
#include "tests/support/spec_text.hpp"

namespace tessera {
namespace {

TierDevice read(const std::string& text) { return test::spec_of<TierDevice>(text, "tier.yaml"); }
std::string error_of(const std::string& text) { return test::spec_error<TierDevice>(text, "tier.yaml"); }

TEST(TierDevice, PeakIsOnPaperOrElseTheFasterDirection) {
  EXPECT_EQ(read("{read_gb_s: 20, write_gb_s: 30, both_gb_s: 40}").peak(), 30);
  EXPECT_EQ(read("{read_gb_s: 20, write_gb_s: 30, both_gb_s: 40, peak_gb_s: 32}").peak(), 32);
}

// A copy takes 5 us or its bytes at 20 GB/s: 100,000 bytes are where both are equal.
TEST(TierDevice, SmallPiecesAreBoundByTheirCopiesAndLargeOnesByTheRate) {
  const TierDevice device = read("{read_gb_s: 20, write_gb_s: 20, both_gb_s: 20, copy_us: 5}");
  EXPECT_DOUBLE_EQ(device.read_rate(1000), 0.2);  // 1,000 bytes in 5 us
  EXPECT_DOUBLE_EQ(device.read_rate(50'000), 10);
  EXPECT_DOUBLE_EQ(device.read_rate(100'000), 20);
  EXPECT_DOUBLE_EQ(device.read_rate(1e9), 20);
}

TEST(TierDevice, WithoutACostPerCopySizeDoesNotMatter) {
  const TierDevice device = read("{read_gb_s: 20, write_gb_s: 20, both_gb_s: 20}");
  EXPECT_EQ(device.read_rate(1), 20);
}

TEST(TierDevice, LargerPiecesAreNeverSlowerAndNoneIsFasterThanTheDevice) {
  EXPECT_TRUE(rc::check([] {
    TierDevice device;
    device.read_gb_s.value = *rc::gen::element(0.001, 3.0, 55.0, 400.0);
    device.copy_us.value = *rc::gen::element(0.0, 0.5, 5.0, 1000.0);
    const auto small = static_cast<double>(*rc::gen::inRange(1, 1 << 24));
    const double large = small + static_cast<double>(*rc::gen::inRange(0, 1 << 24));
    RC_ASSERT(device.read_rate(small) <= device.read_rate(large));
    RC_ASSERT(device.read_rate(large) <= device.read_gb_s);
  }));
}

TEST(TierDevice, TheHostLinkOfAGpuIsItsOwnBandwidthBothWays) {
  const TierDevice link = host_link_of(25, "measured here");
  EXPECT_EQ(link.read_gb_s, 25);
  EXPECT_EQ(link.write_gb_s, 25);
  EXPECT_EQ(link.read_gb_s.source, "measured here");
  // Both ways at once an H100 moves 83.4 GB/s where it moves 50 one way (vLLM, 2026-01-08).
  EXPECT_DOUBLE_EQ(link.both_gb_s, 25 * 83.4 / 50);
  EXPECT_GE(link.copy_us, 5);  // a cudaMemcpyAsync call takes 5 to 7 us (arXiv 2602.21548, section 5.2)
  EXPECT_LE(link.copy_us, 7);
  for (const std::string& source : {link.both_gb_s.source, link.latency_us.source, link.copy_us.source})
    EXPECT_FALSE(source.empty());
}

TEST(TierDevice, RatesThatContradictEachOtherAreRefused) {
  EXPECT_EQ(
      error_of("{read_gb_s: 20, write_gb_s: 30, both_gb_s: 29}"),
      "tier.yaml:1:44: both_gb_s: both directions together are slower than one, expected at least the larger "
      "of read_gb_s and write_gb_s");
  EXPECT_EQ(error_of("{read_gb_s: 20, write_gb_s: 30, both_gb_s: 60, peak_gb_s: 25}"),
            "tier.yaml:1:59: peak_gb_s: is below what the device achieves, expected at least read_gb_s and "
            "write_gb_s");
}

TEST(TierDevice, AllThreeRatesMustBeGivenAndPositive) {
  EXPECT_EQ(
      error_of("{read_gb_s: 20, write_gb_s: 30}"),
      "tier.yaml:1:1: both_gb_s: missing, expected both directions together when both are busy in GB/s");
  EXPECT_EQ(error_of("{read_gb_s: 0, write_gb_s: 30, both_gb_s: 60}"),
            "tier.yaml:1:13: read_gb_s: 0 is out of range, expected a number of GB/s from 0.001 to 100000");
  EXPECT_NE(error_of("{read_gbs: 1, write_gb_s: 30, both_gb_s: 60}").find("did you mean 'read_gb_s'?"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
