// Which tiles the CTAs of the L2 bench read, and when: the knee at the L2's size depends on it.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "kernels/cuda/memory_kernels.hpp"

namespace tessera {
namespace {

using cuda::Chunk;
using cuda::FootprintKernel;

constexpr std::int64_t kTile = std::int64_t{FootprintKernel::kThreads} * FootprintKernel::kUnrolled;

// Thread 0 of one CTA, which notes the tiles it reads.
struct NotingLane {
  std::int64_t number, count;
  const Chunk* first;
  std::vector<std::int64_t> tiles{};

  [[nodiscard]] static int thread() { return 0; }
  [[nodiscard]] std::int64_t block() const { return number; }
  [[nodiscard]] std::int64_t blocks() const { return count; }
  Chunk load_past_l1(const Chunk* from) {
    if ((from - first) % kTile == 0) tiles.push_back((from - first) / kTile);
    return {};
  }
};

// The tiles of every CTA in turn, step by step.
std::vector<std::vector<std::int64_t>> read_by(std::int64_t ctas, std::int64_t tiles, std::int64_t each) {
  const auto* const first = reinterpret_cast<const Chunk*>(std::uintptr_t{1} << 32);
  std::vector<std::vector<std::int64_t>> all;
  for (std::int64_t i = 0; i < ctas; ++i) {
    NotingLane lane{i, ctas, first};
    FootprintKernel::run(lane, {first, tiles * kTile, each, nullptr});
    all.push_back(lane.tiles);
  }
  return all;
}

constexpr std::int64_t kCtas = 132 * 8;

TEST(Footprint, CtasAreSpreadEvenlyOverIt) {
  for (const std::int64_t bytes : {256 << 10, 1 << 20, 8 << 20, 48 << 20, 256 << 20}) {
    const std::int64_t tiles = bytes / (kTile * 16);
    const auto read = read_by(kCtas, tiles, 64);
    for (const std::size_t step : {0, 1, 63}) {
      std::map<std::int64_t, int> readers;
      for (const auto& cta : read) ++readers[cta.at(step)];
      EXPECT_EQ(std::ssize(readers), std::min(tiles, kCtas)) << bytes << " at step " << step;
      for (const auto& [tile, count] : readers) EXPECT_LE(count, (kCtas + tiles - 1) / tiles) << bytes;
    }
  }
}

// With all CTAs in step a tile comes again once the rest of the footprint has been read.
TEST(Footprint, ATileComesAgainOnlyAfterTheOthers) {
  const std::int64_t tiles = (256 << 20) / (kTile * 16), round = tiles / kCtas;
  const auto read = read_by(kCtas, tiles, 64);
  std::vector<std::int64_t> last(static_cast<std::size_t>(tiles), -1);
  for (std::int64_t step = 0; step < 64; ++step)
    for (const auto& cta : read) {
      std::int64_t& before = last[static_cast<std::size_t>(cta[static_cast<std::size_t>(step)])];
      EXPECT_TRUE(before < 0 || step - before >= round) << step;
      before = step;
    }
  EXPECT_EQ(std::count(last.begin(), last.end(), -1), 0) << "all of it is read";
}

// As the latency bench warms the L2: just enough tiles a CTA.
TEST(Footprint, OnceThroughLeavesNothingOut) {
  for (const std::int64_t tiles : {1, 16, 1055, 1056, 1057, 1500, 5000}) {
    std::vector<bool> seen(static_cast<std::size_t>(tiles), false);
    for (const auto& cta : read_by(kCtas, tiles, (tiles + kCtas - 1) / kCtas))
      for (const std::int64_t tile : cta) seen.at(static_cast<std::size_t>(tile)) = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), false), 0) << tiles;
  }
}

}  // namespace
}  // namespace tessera
