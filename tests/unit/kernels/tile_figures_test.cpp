// Unfused attention, FlashAttention-1 and the figures reports quote.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/tiles/launch_figures.hpp"
#include "models/base/error.hpp"

namespace tessera {
namespace {

AttentionProblem mha(std::int64_t length, int head_dim, int batch = 1, int heads = 16) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = heads;
  p.head_dim = p.v_head_dim = head_dim;
  p.causal = false;
  p.sequences.assign(static_cast<std::size_t>(batch), {length, length});
  return p;
}

std::vector<std::string> names(const StandardAttention& launch) {
  std::vector<std::string> list;
  launch.for_each([&](const char* name, const auto&) { list.emplace_back(name); });
  return list;
}

TEST(StandardProgram, LaunchesOnlyTheKernelsItNeeds) {
  using List = std::vector<std::string>;
  EXPECT_EQ(names({mha(64, 64), {}}), (List{"scores", "softmax", "output"}));
  EXPECT_EQ(names({mha(64, 64), {.key_mask = true, .dropout = true}}),
            (List{"scores", "mask", "softmax", "dropout", "output"}));
  AttentionProblem causal = mha(64, 64);
  causal.causal = true;
  EXPECT_EQ(names({causal, {}}), (List{"scores", "mask", "softmax", "output"}));
}

TEST(StandardProgram, RowsFillSharedMemoryAndRegistersButLeaveNoSmIdle) {
  // 64 x 16 planes are enough CTAs: 1,024 rows of Q (fp32 scores fill half the registers), 512 of O.
  const StandardAttention many(mha(4096, 64, 64), {});
  EXPECT_EQ(many.kernels.front().tile.m, 1024);
  EXPECT_EQ(many.kernels.back().tile.m, 512);
  EXPECT_LE(many.kernels.front().resources().smem_bytes, 166912);
  // One head of 1,024 tokens: even 64 rows leave SMs idle.
  const StandardAttention few(mha(1024, 64, 1, 1), {});
  EXPECT_EQ(few.kernels.front().tile.m, 64);
  EXPECT_EQ(few.kernels.front().ctas(), 16);
}

TEST(StandardProgram, TilesThatDoNotFitAreRefused) {
  EXPECT_THROW(StandardAttention(mha(64, 256), {.smem_per_cta = 32768}), InputError);
}

TEST(Fa1Program, BlocksFillSharedMemory) {
  const FlashAttention1 a100(mha(1024, 64), 166912);
  EXPECT_EQ(a100.tile.n, 320);  // 166,912 / (4 x 64 x 2) = 326
  EXPECT_EQ(a100.tile.m, 64);
  EXPECT_LE(a100.resources().smem_bytes, 166912);
  EXPECT_EQ(FlashAttention1(mha(1024, 128), 166912).tile.n, 160);
  EXPECT_EQ(FlashAttention1(mha(1024, 128), 20000).tile.m, 16) << "Br = min(Bc, d)";
}

TEST(Fa1Program, RefusesWhatItCannotDo) {
  EXPECT_THROW(FlashAttention1(mha(64, 128), 4096), InputError);
  AttentionProblem window = mha(64, 64), paged = mha(64, 64);
  window.window = 16, paged.page_tokens = 16;
  EXPECT_THROW(FlashAttention1(window, 166912), InputError);
  EXPECT_THROW(FlashAttention1(paged, 166912), InputError);
}

TEST(Fa1Program, RereadsQueriesAndOutputsForEveryBlockOfKeys) {
  const FlashAttention1 fa1(mha(1280, 64, 1, 1), 166912);  // four blocks of 320 keys
  const Traffic t = traffic_of(fa1);
  const std::int64_t once = 1280 * 64 * 2;
  EXPECT_EQ(t.read_of(Tensor::k), once);
  EXPECT_EQ(t.read_of(Tensor::q), 4 * once);
  EXPECT_EQ(t.read_of(Tensor::o), 3 * once) << "the first turn starts from zero";
  EXPECT_EQ(t.written_of(Tensor::o), 4 * once);
  const Traffic back = fa1.backward_traffic();
  EXPECT_EQ(back.read_of(Tensor::o_gradient), 5 * once) << "four turns, and once for D";
  EXPECT_EQ(back.read_of(Tensor::q_gradient), 3 * once);
  EXPECT_EQ(back.written_of(Tensor::q_gradient), 4 * once);
  EXPECT_EQ(back.written_of(Tensor::k_gradient), once);
}

TEST(Fa1Program, ACausalMaskSkipsAboutHalf) {
  AttentionProblem p = mha(4096, 64, 1, 1);
  const std::int64_t all = traffic_of(FlashAttention1(p, 65536)).mma_flops;
  p.causal = true;
  const FlashAttention1 causal(p, 65536);
  const double share = static_cast<double>(traffic_of(causal).mma_flops) / static_cast<double>(all);
  // 32 blocks of 128 keys: of 1,024 squares the 32 x 33 / 2 on and below the diagonal.
  EXPECT_DOUBLE_EQ(share, 528.0 / 1024);
  EXPECT_LT(causal.backward_traffic().read_of(Tensor::q), traffic_of(causal).read_of(Tensor::q) + 1);
}

TEST(LaunchFigures, QuoteTheMainKernel) {
  const LaunchFigures standard =
      figures_of(StandardAttention(mha(1024, 64, 64), {.key_mask = true, .dropout = true}), true);
  EXPECT_EQ(standard.kernels.size(), 5u);
  EXPECT_EQ(standard.kernels[standard.main].name, "scores");
  EXPECT_EQ(standard.useful_flops, 3 * 4.0 * 64 * 16 * 1024 * 1024 * 64);
  EXPECT_GT(standard.hbm_read_bytes(), standard.hbm_write_bytes());

  AttentionProblem p = mha(8192, 128, 1, 32);
  p.kv_heads = 8, p.page_tokens = 16, p.sequences = {{1, 8192}};
  const FlashLaunch launch = fa2::launch(p, FlashCard{});
  const LaunchFigures flash = figures_of(launch);
  EXPECT_EQ(flash.kernels[flash.main].name, "attention");
  EXPECT_EQ(flash.ctas(), 8 * 22);
  EXPECT_EQ(flash.sram_bytes_per_cta(), 80 * 1024);
  EXPECT_EQ(flash.peak_extra_bytes, launch.extra_bytes());
  EXPECT_EQ(flash.hbm_read_bytes() + flash.hbm_write_bytes(), traffic_of_launch(launch).bytes());
  EXPECT_EQ(flash.useful_flops, 4.0 * 32 * 8192 * 128);
  EXPECT_GE(static_cast<double>(flash.executed_flops()), flash.useful_flops);
}

}  // namespace
}  // namespace tessera
