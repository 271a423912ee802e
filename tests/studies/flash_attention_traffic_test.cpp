// The published example of FlashAttention (Dao et al. 2022, figure 2 left): GPT-2 medium on an A100, sequence
// length 1024, head dimension 64, 16 heads, batch 64, forward and backward, dropout and padding mask.
// HBM traffic: 40.3 GB unfused, 4.4 GB FlashAttention. Also its theorem 2: traffic = Theta(N^2 d^2 / M), and
// its theorem 1: O(N) extra memory.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "kernels/tiles/attention_fa1.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_standard.hpp"
#include "kernels/tiles/attention_totals.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kA100Smem = 166912;  // most one CTA of an A100 can use

AttentionProblem mha(int batch, int heads, std::int64_t length, int head_dim) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = heads;
  p.head_dim = p.v_head_dim = head_dim;
  p.causal = false;
  p.sequences.assign(static_cast<std::size_t>(batch), {length, length});
  return p;
}

TEST(FlashAttentionExample, UnfusedMovesAsManyBytesAsPublished) {
  const StandardAttention standard(mha(64, 16, 1024, 64), {.key_mask = true, .dropout = true});
  const std::int64_t forward = traffic_of_launch(standard).bytes();
  const std::int64_t backward = standard.backward_traffic().bytes();
  EXPECT_NEAR(static_cast<double>(forward + backward), 40.3e9, 0.03 * 40.3e9);
  // By hand. Large passes over 64 x 16 matrices of 1024^2 16-bit numbers: scores 1, mask 2, softmax 2,
  // dropout 2.5, output 1; dV 1, dP' 1, dropout 2.5, softmax 3, dQ 1, dK 1. Small passes over 1024 x 64: Q, K
  // and O once, V twice (512 rows of O fill the registers); dO twice, dV; dO, V; K twice, dQ; Q twice, dK.
  // The padding mask is read once for every 64 rows.
  const std::int64_t planes = 64 * 16, large = planes * 1024 * 1024 * 2, small = planes * 1024 * 64 * 2;
  EXPECT_EQ(forward, large * 17 / 2 + 5 * small + planes * (1024 / 64) * 1024);
  EXPECT_EQ(backward, large * 19 / 2 + 11 * small);
}

TEST(FlashAttentionExample, FlashAttention1MovesAsManyBytesAsPublished) {
  const FlashAttention1 fa1(mha(64, 16, 1024, 64), kA100Smem, true);
  const std::int64_t bytes = traffic_of(fa1).bytes() + fa1.backward_traffic().bytes();
  EXPECT_NEAR(static_cast<double>(bytes), 4.4e9, 0.08 * 4.4e9);
}

TEST(FlashAttentionExample, ExtraMemoryIsQuadraticUnfusedAndLinearFused) {
  const auto unfused = [](std::int64_t n, bool backward) {
    return StandardAttention(mha(1, 16, n, 64), {.key_mask = true, .dropout = true})
        .peak_extra_bytes(backward);
  };
  const auto fused = [](std::int64_t n, bool backward) {
    return FlashAttention1(mha(1, 16, n, 64), kA100Smem).peak_extra_bytes(backward);
  };
  const auto newer = [](std::int64_t n) { return fa2::launch(mha(1, 16, n, 64), FlashCard{}).extra_bytes(); };
  for (const bool backward : {false, true})
    for (const std::int64_t n : {1024, 4096, 16384}) {
      EXPECT_EQ(unfused(2 * n, backward), 4 * unfused(n, backward));
      EXPECT_EQ(fused(2 * n, backward), 2 * fused(n, backward));
    }
  EXPECT_EQ(newer(32768), 2 * newer(16384));
  // At 1,024 tokens forward: P, P' and the mask, 5 bytes an element, against l and m, 8 bytes a row.
  EXPECT_EQ(unfused(1024, false), 16 * 1024 * 1024 * 5);
  EXPECT_EQ(fused(1024, false), 16 * 1024 * 8);
}

// Least-squares slope of log y over log x.
double slope(const std::vector<double>& x, const std::vector<double>& y) {
  double mx = 0, my = 0, xy = 0, xx = 0;
  for (std::size_t i = 0; i < x.size(); ++i) mx += std::log(x[i]), my += std::log(y[i]);
  mx /= static_cast<double>(x.size()), my /= static_cast<double>(y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (std::log(x[i]) - mx) * (std::log(y[i]) - my);
    xx += (std::log(x[i]) - mx) * (std::log(x[i]) - mx);
  }
  return xy / xx;
}

// Bytes beyond reading Q, K, V and writing O and the statistics once.
double beyond_compulsory(std::int64_t n, int d, std::int64_t smem) {
  const FlashAttention1 fa1(mha(1, 1, n, d), smem);
  const std::int64_t once = n * (4 * d * 2 + 8);
  return static_cast<double>(traffic_of(fa1).bytes() - once);
}

class FlashAttentionLaw : public testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Lengths, FlashAttentionLaw, testing::Values(16384, 32768, 65536));

TEST_P(FlashAttentionLaw, TrafficFallsWithTheInverseOfSharedMemory) {
  std::vector<double> smem, bytes;
  for (const std::int64_t kb : {24, 48, 96, 192}) {
    smem.push_back(static_cast<double>(kb << 10));
    bytes.push_back(beyond_compulsory(GetParam(), 64, kb << 10));
  }
  EXPECT_NEAR(slope(smem, bytes), -1, 0.05);
}

TEST_P(FlashAttentionLaw, TrafficGrowsWithTheSquareOfTheHeadDimension) {
  std::vector<double> dims, bytes;
  for (const int d : {64, 128, 256}) {
    dims.push_back(d);
    bytes.push_back(beyond_compulsory(GetParam(), d, 192 << 10));
  }
  EXPECT_NEAR(slope(dims, bytes), 2, 0.1);
}

TEST(FlashAttentionExample, TrafficGrowsWithTheSquareOfTheLength) {
  std::vector<double> lengths, bytes;
  for (const std::int64_t n : {16384, 32768, 65536}) {
    lengths.push_back(static_cast<double>(n));
    bytes.push_back(beyond_compulsory(n, 64, kA100Smem));
  }
  EXPECT_NEAR(slope(lengths, bytes), 2, 0.05);
}

}  // namespace
}  // namespace tessera
