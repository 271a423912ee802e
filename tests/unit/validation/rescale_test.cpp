#include "models/hardware/rescale.hpp"

#include <gtest/gtest.h>

#include "kernels/cost/gemm.hpp"
#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

TEST(Rescale, TheSameCardKeepsItsFigures) {
  Gpu g = paper_gpu();
  const KernelBehaviour b = rescaled(*g.kernels, g, g);
  EXPECT_EQ(b.gemm.floor_us, g.kernels->gemm.floor_us);
  EXPECT_EQ(b.gemm.compute_fraction, g.kernels->gemm.compute_fraction);
  EXPECT_EQ(b.gemm.hbm_fraction, g.kernels->gemm.hbm_fraction);
  EXPECT_EQ(b.gemm.l2_share, g.kernels->gemm.l2_share);
  EXPECT_EQ(b.collectives.nccl.simple_gb_s, g.kernels->collectives.nccl.simple_gb_s);
}

TEST(Rescale, EachFigureFollowsTheNumberBehindIt) {
  const Gpu from = paper_gpu();
  Gpu to = paper_gpu();
  to.name = "target";
  to.graph_launch_us.value = 1.5;
  to.max_clock_mhz.value = 2000;
  to.l2_gb_s.value = 8000;
  to.hbm_achieved_fraction.value = 0.45;
  to.dram_latency_ns.value = 200;
  to.nvlink_gb_s.value = 50;
  const KernelBehaviour b = rescaled(*from.kernels, from, to);
  EXPECT_DOUBLE_EQ(b.gemm.floor_us, 3);
  EXPECT_DOUBLE_EQ(b.gemm.split_us, 4.5);
  EXPECT_DOUBLE_EQ(b.gemm.serial_ns_per_k, 1);
  EXPECT_DOUBLE_EQ(b.gemm.l2_feed_gb_s, 20000);
  EXPECT_DOUBLE_EQ(b.gemm.hbm_fraction, 0.4);
  EXPECT_DOUBLE_EQ(b.attention.rates.kv_write_us, from.kernels->attention.rates.kv_write_us / 2);
  EXPECT_DOUBLE_EQ(b.collectives.nccl.simple_gb_s, from.kernels->collectives.nccl.simple_gb_s / 2);
  EXPECT_EQ(b.gemm.source.substr(0, 32), "estimated for target from paper:");
}

TEST(Rescale, ASlowerTensorCoreIsUsedMoreFullyAFasterOneNotLess) {
  Gpu from = paper_gpu();
  from.kernels->gemm.compute_fraction = 0.6;
  Gpu to = paper_gpu();
  to.bf16_flops_per_clk_sm.value = 800;
  EXPECT_DOUBLE_EQ(rescaled(*from.kernels, from, to).gemm.compute_fraction, 0.75);
  to.bf16_flops_per_clk_sm.value = 500;
  EXPECT_DOUBLE_EQ(rescaled(*from.kernels, from, to).gemm.compute_fraction, 1);
  to.bf16_flops_per_clk_sm.value = 2000;
  EXPECT_DOUBLE_EQ(rescaled(*from.kernels, from, to).gemm.compute_fraction, 0.6);
}

TEST(Rescale, L2ShareFollowsTheNumberOfPartitions) {
  const Gpu from = paper_gpu();
  Gpu to = paper_gpu();
  to.l2_partitions.value = 2;
  EXPECT_LT(rescaled(*from.kernels, from, to).gemm.l2_share, from.kernels->gemm.l2_share);
  EXPECT_LT(rescaled(*from.kernels, from, to).attention.rates.l2_share,
            from.kernels->attention.rates.l2_share);
}

TEST(Rescale, WithoutNvlinkCollectivesRunAtTheHostBus) {
  const Gpu from = paper_gpu();
  Gpu to = paper_gpu();
  to.nvlink_gb_s.value = 0;
  const KernelBehaviour b = rescaled(*from.kernels, from, to);
  EXPECT_DOUBLE_EQ(b.collectives.custom.one_shot_gb_s,
                   from.kernels->collectives.custom.one_shot_gb_s * 20 / 100);
  EXPECT_EQ(b.collectives.nccl.switch_gb_s, 0);
}

TEST(Rescale, A4090RunsLargeGemmsAtItsTensorPeak) {
  // 166-168 of 165 TFLOP/s were delivered by such a card; the L40S it borrows from reaches 0.6-0.7 of its
  // peak.
  const Gpu gpu = load_gpu("rtx-4090");
  const double tflops = 2 * 4096.0 * 28672 * 4096 / (gemm_time(gpu, {4096, 28672, 4096}).total * 1e6);
  EXPECT_GT(tflops, 0.9 * gpu.datasheet_bf16_tflops);
}

}  // namespace
}  // namespace tessera
