// The emulator of CUDA threads: matrix instructions as the PTX ISA defines them, copies that may come late,
// barriers, and that it notices kernels that lean on luck.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/host/memory.hpp"
#include "kernels/host/simt.hpp"

namespace tessera::host {
namespace {

using cuda::Chunk;
using cuda::Float16;

TEST(Simt, HalvesRoundLikeTheHost) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const float x = std::ldexp(static_cast<float>(static_cast<int>(random() % 20001) - 10000) / 7777.0f,
                               static_cast<int>(random() % 60) - 30);
    EXPECT_EQ(from_half(to_half(x, Float16::bf16), Float16::bf16), rounded(x, Format::bf16));
    EXPECT_EQ(from_half(to_half(x, Float16::fp16), Float16::fp16), rounded(x, Format::fp16)) << x;
  }
  EXPECT_TRUE(std::isnan(from_half(to_half(NAN, Float16::fp16), Float16::fp16)));
  EXPECT_EQ(from_half(0xfc00, Float16::fp16), -INFINITY);
  EXPECT_EQ(from_half(0x0001, Float16::fp16), 0x1p-24f);
  EXPECT_TRUE(std::isnan(from_half(0xffff, Float16::bf16)));  // what poison reads as
}

// C = A B of 16 x 16 and 16 x 8 through ldmatrix and mma, B stored by columns or by rows.
template <bool kByRows>
void multiply(std::uint64_t seed) {
  float a[16][16], b[16][8], expected[16][8] = {}, got[16][8] = {};
  std::mt19937 random(static_cast<unsigned>(seed));
  const auto draw = [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8); };
  for (auto& row : a)
    for (float& x : row) x = draw();
  for (auto& row : b)
    for (float& x : row) x = draw();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; ++k) expected[i][j] += a[i][k] * b[k][j];
  emulate({.ctas = 1, .threads = 32, .shared_bytes = 1024, .seed = seed}, [&](EmulatedLane& lane) {
    auto* const shared = static_cast<std::uint16_t*>(lane.shared());
    std::uint16_t* const of_b = shared + 16 * 16;
    const int id = lane.thread();
    for (int i = id; i < 16 * 16; i += 32) shared[i] = to_half(a[i / 16][i % 16], Float16::bf16);
    // By columns: 8 rows of 16 k. By rows: 16 k rows of 8.
    for (int i = id; i < 16 * 8; i += 32)
      of_b[i] = to_half(kByRows ? b[i / 8][i % 8] : b[i % 16][i / 16], Float16::bf16);
    lane.sync();
    std::uint32_t left[4], right[4];
    lane.load_matrices(left, shared + id % 16 * 16 + id / 16 * 8);
    if (kByRows)
      lane.load_matrices_transposed(right, of_b + id % 16 * 8);
    else
      lane.load_matrices(right, of_b + id % 8 * 16 + id / 8 % 2 * 8);
    float c[4] = {};
    lane.mma<Float16::bf16>(c, left, right[0], right[1]);
    for (int e = 0; e < 4; ++e) got[id / 4 + e / 2 * 8][id % 4 * 2 + e % 2] = c[e];
  });
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) EXPECT_EQ(got[i][j], expected[i][j]) << i << " " << j;
}

TEST(Simt, ProductsOfMatricesStoredByColumns) { multiply<false>(1); }
TEST(Simt, ProductsOfMatricesStoredByRows) { multiply<true>(2); }

TEST(Simt, ShufflesExchangeLanes) {
  std::array<float, 32> exchanged{};
  std::array<int, 32> broadcast{};
  emulate({.threads = 32}, [&](EmulatedLane& lane) {
    exchanged[static_cast<std::size_t>(lane.thread())] =
        lane.shuffle_xor(static_cast<float>(lane.thread()), 5);
    broadcast[static_cast<std::size_t>(lane.thread())] = lane.shuffle(lane.thread() * 10, lane.thread() / 8);
  });
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(exchanged[i], static_cast<float>(i ^ 5));
    EXPECT_EQ(broadcast[i], static_cast<int>(i / 8 * 10));
  }
}

TEST(Simt, EveryThreadOfEveryCtaRunsOnce) {
  std::array<int, 3 * 96> ran{};
  emulate({.ctas = 3, .threads = 96, .seed = 9}, [&](EmulatedLane& lane) {
    EXPECT_EQ(lane.blocks(), 3);
    EXPECT_EQ(lane.threads(), 96);
    ++ran[static_cast<std::size_t>(lane.block() * 96 + lane.thread())];
  });
  for (const int r : ran) EXPECT_EQ(r, 1);
}

// Reverses 64 numbers through shared memory. Without `barrier` a thread may read before another has written;
// without `waits` the copy may not have come.
int wrong_runs(bool barrier, bool waits) {
  alignas(16) std::array<std::uint32_t, 256> from{};
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint32_t>(i);
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::array<std::uint32_t, 64> got{};
    emulate({.threads = 64, .shared_bytes = 1024, .seed = seed}, [&](EmulatedLane& lane) {
      auto* const shared = static_cast<Chunk*>(lane.shared());
      lane.copy_async(shared + lane.thread(), from.data() + lane.thread() * 4, true);
      lane.commit();
      if (waits) lane.wait<0>();
      if (barrier) lane.sync();
      got[static_cast<std::size_t>(lane.thread())] = shared[63 - lane.thread()].word[0];
      lane.wait<0>();
    });
    bool right = true;
    for (std::size_t i = 0; i < 64; ++i) right = right && got[i] == 4 * (63 - i);
    wrong += !right;
  }
  return wrong;
}

TEST(Simt, ARightKernelIsRightInEveryOrder) { EXPECT_EQ(wrong_runs(true, true), 0); }
TEST(Simt, AMissingBarrierShows) { EXPECT_GT(wrong_runs(false, true), 15); }
TEST(Simt, AMissingWaitShows) { EXPECT_GT(wrong_runs(true, false), 15); }

TEST(Simt, WaitingLeavesTheLatestGroupsPending) {
  alignas(16) const Chunk one{{1, 1, 1, 1}}, two{{2, 2, 2, 2}};
  bool first_always = true, second_sometimes_late = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    emulate({.threads = 32, .shared_bytes = 1024, .seed = seed}, [&](EmulatedLane& lane) {
      auto* const mine = static_cast<Chunk*>(lane.shared()) + 2 * (lane.thread() % 32);
      if (lane.thread() == 0) {
        lane.copy_async(mine, &one, true);
        lane.commit();
        lane.copy_async(mine + 1, &two, true);
        lane.commit();
        lane.wait<1>();
        first_always = first_always && mine[0].word[0] == 1;
        second_sometimes_late = second_sometimes_late || mine[1].word[0] != 2;
        lane.wait<0>();
      }
    });
  EXPECT_TRUE(first_always);
  EXPECT_TRUE(second_sometimes_late);
}

TEST(Simt, CopiesOfWhatDoesNotExistAreZeros) {
  std::uint32_t word = 1;
  emulate({.threads = 32, .shared_bytes = 16}, [&](EmulatedLane& lane) {
    if (lane.thread() != 0) return;
    auto* const shared = static_cast<Chunk*>(lane.shared());
    EXPECT_EQ(shared->word[0], 0xffffffffu);  // poison
    lane.copy_async(shared, nullptr, false);
    lane.commit();
    lane.wait<0>();
    word = shared->word[3];
  });
  EXPECT_EQ(word, 0u);
}

TEST(SimtDeathTest, ThreadsThatWaitForEverAreReported) {
  EXPECT_DEATH(emulate({.threads = 32},
                       [](EmulatedLane& lane) {
                         if (lane.thread() == 3)
                           lane.sync();
                         else
                           lane.shuffle_xor(1, 1);
                       }),
               "wait for one another");
}

}  // namespace
}  // namespace tessera::host
