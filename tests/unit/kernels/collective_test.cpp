#include "kernels/cost/collective.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

constexpr double kKiB = 1024, kMiB = 1024 * kKiB;

Gpu linked_gpu() {
  Gpu g = paper_gpu();
  CollectiveParams& p = g.kernels->collectives;
  p.custom = {.base_us = 4,
              .rank_us = 0.5,
              .one_shot_gb_s = 50,
              .two_shot_us = 2,
              .two_shot_gb_s = 80,
              .limit_bytes = 8 * kMiB,
              .eager_host_us = 30};
  p.nccl = {.base_us = 5,
            .step_us = 1,
            .all_to_all_us = 3,
            .ll_gb_s = 10,
            .ll128_us = 4,
            .ll128_gb_s = 40,
            .all_to_all_ll128_us = 6,
            .all_to_all_ll128_gb_s = 30,
            .simple_us = 20,
            .simple_gb_s = 80,
            .copy_share = 0.5,
            .switch_us = 25,
            .switch_gb_s = 60};
  return g;
}

double graph_us(const Gpu& gpu, int ranks, double bytes) {
  return all_reduce_time(gpu, ranks, bytes, true).total;
}

TEST(CustomAllReduce, TwoRanksReadEachOtherOnceAtAnySize) {
  const Gpu gpu = linked_gpu();
  EXPECT_NEAR(graph_us(gpu, 2, 50e3), 4 + 1, 1e-9);
  EXPECT_NEAR(graph_us(gpu, 2, 5e6), 4 + 100, 1e-9);
}

TEST(CustomAllReduce, MoreRanksGoOverToTwoShots) {
  const Gpu gpu = linked_gpu();
  // Four ranks: one shot reads three buffers below 512 KiB, two shots move 2 x 3/4 of one from there on.
  const double below = 512 * kKiB - 2, at = 512 * kKiB;
  EXPECT_NEAR(graph_us(gpu, 4, below), 4 + 2 * 0.5 + 3 * below / 50e3, 1e-9);
  EXPECT_NEAR(graph_us(gpu, 4, at), 4 + 2 * 0.5 + 2 * 2 + 1.5 * at / 80e3, 1e-9);
  // Eight ranks: from 256 KiB, and three doublings of the second phase.
  const double few = 256 * kKiB - 2, many = 256 * kKiB;
  EXPECT_NEAR(graph_us(gpu, 8, few), 4 + 6 * 0.5 + 7 * few / 50e3, 1e-9);
  EXPECT_NEAR(graph_us(gpu, 8, many), 4 + 6 * 0.5 + 3 * 2 + 1.75 * many / 80e3, 1e-9);
}

TEST(CustomAllReduce, NcclTakesOverAtTheWorkspaceLimit) {
  const Gpu gpu = linked_gpu();
  const double limit = 8 * kMiB;
  EXPECT_LT(graph_us(gpu, 4, limit - 2), graph_us(gpu, 4, limit));
  EXPECT_EQ(graph_us(gpu, 4, limit), nccl_time(gpu, Collective::all_reduce, 4, limit).total);
}

TEST(CustomAllReduce, WithoutNvlinkItServesTwoRanksOnly) {
  Gpu gpu = linked_gpu();
  gpu.nvlink_gb_s.value = 0;
  gpu.pcie_gb_s.value = 100;
  EXPECT_NEAR(graph_us(gpu, 2, 50e3), 5, 1e-9);
  EXPECT_EQ(graph_us(gpu, 4, 50e3), nccl_time(gpu, Collective::all_reduce, 4, 50e3).total);
}

TEST(CustomAllReduce, AnEagerCallWaitsForTheHostAndCopies) {
  const Gpu gpu = linked_gpu();
  const OpTime small = all_reduce_time(gpu, 2, 50e3, false);
  EXPECT_EQ(small.total, 30);
  EXPECT_EQ(small.host, 30);
  // 5 MB: 104 us and a copy of 10 MB at 800 GB/s.
  EXPECT_NEAR(all_reduce_time(gpu, 2, 5e6, false).total, 104 + 12.5, 1e-9);
}

TEST(Nccl, SmallMessagesPayForRingSteps) {
  const Gpu gpu = linked_gpu();
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 2, 0).total, 5 + 2, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 8, 0).total, 5 + 14, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_gather, 8, 0).total, 5 + 7, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::reduce_scatter, 4, 0).total, 5 + 3, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_to_all, 8, 0).total, 5 + 3, 1e-9);
}

TEST(Nccl, TheCheapestProtocolRuns) {
  const Gpu gpu = linked_gpu();
  // Two ranks send W = B. LL: 7 + B/10; LL128: 11 + B/40; Simple: 27 + B/80 (B in kB, rates in kB/us).
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 2, 20e3).total, 7 + 2, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 2, 400e3).total, 11 + 10, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 2, 8e6).total, 27 + 100, 1e-9);
}

TEST(Nccl, AllGatherAlsoCopiesItsOwnPart) {
  // (p - 1 + 0.5) / p of 8 MB at 80 GB/s.
  EXPECT_NEAR(nccl_time(linked_gpu(), Collective::all_gather, 4, 8e6).total, 5 + 3 + 20 + 3.5 / 4 * 100,
              1e-9);
}

TEST(Nccl, SwitchesReduceFloatsOnAWholeNode) {
  const Gpu gpu = linked_gpu();
  // Eight ranks, 60 MB: in the switch 5 + 14 + 25 + 1,000; by ring 5 + 14 + 20 + 1.75 x 750.
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 8, 60e6).total, 44 + 1000, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 8, 60e6, DType::int8).total, 39 + 1312.5, 1e-9);
  EXPECT_NEAR(nccl_time(gpu, Collective::all_reduce, 4, 60e6).total, 5 + 6 + 20 + 1.5 * 750, 1e-9);
}

TEST(Collectives, OneRankHasNothingToDo) {
  EXPECT_EQ(graph_us(linked_gpu(), 1, 1e6), 0);
  EXPECT_EQ(nccl_time(linked_gpu(), Collective::all_to_all, 1, 1e6).total, 0);
}

TEST(Collectives, TheFloorIsWhatTheLinkMustCarry) {
  const Gpu gpu = linked_gpu();  // 100 GB/s one way
  EXPECT_NEAR(collective_floor_us(gpu, Collective::all_gather, 4, 1e6), 7.5, 1e-9);
  EXPECT_NEAR(collective_floor_us(gpu, Collective::all_reduce, 4, 1e6), 15, 1e-9);
  EXPECT_NEAR(collective_floor_us(gpu, Collective::all_reduce, 8, 1e6), 10, 1e-9);  // added in the switch
}

TEST(Collectives, NoCardBeatsItsLinksAndMoreBytesNeverTakeLess) {
  constexpr Collective kOps[] = {Collective::all_reduce, Collective::all_gather, Collective::reduce_scatter,
                                 Collective::all_to_all};
  for (const std::string& name : config_names("gpus")) {
    const Gpu gpu = load_gpu(name);
    EXPECT_TRUE(rc::check(name, [&] {
      const int ranks = *rc::gen::element(2, 4, 8);
      const auto bytes = static_cast<double>(*rc::gen::inRange<std::int64_t>(1, std::int64_t{1} << 30));
      for (const Collective op : kOps) {
        const double t = nccl_time(gpu, op, ranks, bytes).total;
        RC_ASSERT(t >= collective_floor_us(gpu, op, ranks, bytes));
        RC_ASSERT(nccl_time(gpu, op, ranks, bytes * 1.5).total >= t);
      }
      RC_ASSERT(graph_us(gpu, ranks, bytes) >=
                collective_floor_us(gpu, Collective::all_reduce, ranks, bytes));
      RC_ASSERT(all_reduce_time(gpu, ranks, bytes, false).total >= graph_us(gpu, ranks, bytes));
    }));
  }
}

}  // namespace
}  // namespace tessera
