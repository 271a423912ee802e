// Calibration on tables made from known parameters: what the fit must find again.
#include "validation/calibrate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cost/collective.hpp"
#include "kernels/cost/gemm.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

Gpu linked(Gpu g) {
  g.kernels->card = g.name;
  return g;
}

MeasurementTable gemm_table(const Gpu& truth) {
  std::string text = "kernel_source,gemm_dtype,m,n,k,latency_ms,flag\n";
  for (const int m : {1, 2, 16, 64, 200, 512, 2048})
    for (const int n : {32, 256, 1024, 4096, 10240})
      for (const int k : {32, 512, 2048, 8192}) {
        const double us = gemm_time(truth, {m, n, k, DType::bf16, 6}).total;
        text += fmt::format("cublas,bfloat16,{},{},{},{},\n", m, n, k, us * 1e-3);
      }
  return MeasurementTable::parse(std::move(text), "made/gemm.csv");
}

TEST(Calibrate, AGemmFitPredictsShapesItHasNotSeen) {
  Gpu truth = linked(paper_gpu());
  truth.kernels->gemm.epilogue_us = 2;
  Gpu card = truth;
  GemmParams& p = card.kernels->gemm;
  p = GemmParams{};  // start from the defaults
  const std::vector<CalibrationNote> notes = [&] {
    std::vector<MeasurementTable> tables;
    tables.push_back(gemm_table(truth));
    return calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  }();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NEAR(p.floor_us, 2, 0.1);
  EXPECT_NEAR(p.hbm_fraction, 0.8, 0.03);
  int unseen = 0;
  for (const int m : {4, 100, 1500})
    for (const int n : {700, 6000})
      for (const int k : {1000, 5000}) {
        const GemmShape s{m, n, k, DType::bf16, 6};
        EXPECT_NEAR(gemm_time(card, s).total / gemm_time(truth, s).total, 1, 0.1)
            << m << " " << n << " " << k;
        ++unseen;
      }
  EXPECT_EQ(unseen, 12);
  EXPECT_EQ(p.source.substr(0, 31), "gemm: our own (MIT) gemm.csv, f");
  EXPECT_NE(p.source.find("held out"), std::string::npos);
  EXPECT_NE(p.source.find("2000-01-02"), std::string::npos);
}

TEST(Calibrate, TheFrameworksAllReduceIsFoundAgain) {
  Gpu truth = linked(paper_gpu());
  truth.kernels->collectives.custom = {.base_us = 4,
                                       .rank_us = 0.3,
                                       .one_shot_gb_s = 55,
                                       .two_shot_us = 2,
                                       .two_shot_gb_s = 70,
                                       .limit_bytes = 1e12,
                                       .eager_host_us = 41};
  std::string text = "kernel_source,allreduce_dtype,num_gpus,message_elements,latency_ms,backend,flag\n";
  for (const int gpus : {2, 4, 8})
    for (std::int64_t elements = 128; elements < (1 << 23); elements *= 2)
      for (const bool graph : {true, false})
        text +=
            fmt::format("vLLM_custom,bfloat16,{},{},{},{},\n", gpus, elements,
                        all_reduce_time(truth, gpus, 2.0 * static_cast<double>(elements), graph).total * 1e-3,
                        graph ? "vllm_graph" : "vllm_eager");
  Gpu card = truth;
  card.kernels->collectives.custom = CustomAllReduceParams{};
  card.kernels->collectives.custom.limit_bytes = 1e12;
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(std::move(text), "made/all_reduce.csv"));
  calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  const CustomAllReduceParams& p = card.kernels->collectives.custom;
  EXPECT_NEAR(p.base_us, 4, 0.04);
  EXPECT_NEAR(p.rank_us, 0.3, 0.02);
  EXPECT_NEAR(p.one_shot_gb_s, 55, 0.6);
  EXPECT_NEAR(p.two_shot_us, 2, 0.05);
  EXPECT_NEAR(p.two_shot_gb_s, 70, 0.7);
  EXPECT_NEAR(p.eager_host_us, 41, 0.01);
}

TEST(Calibrate, ATableWithoutUsableRowsIsRefused) {
  Gpu card = linked(paper_gpu());
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(
      "kernel_source,gemm_dtype,m,n,k,latency_ms,flag\nx,nvfp4,1,1,1,1,\nx,bfloat16,1,1,1,1,slow_outlier\n",
      "t.csv"));
  EXPECT_THROW(calibrate(card, tables, {"2000-01-02", "our own (MIT)"}), InputError);
}

TEST(Borrow, TakesASectionRescaledToThisCard) {
  Gpu card = linked(paper_gpu());
  Gpu other = linked(paper_gpu());
  other.name = other.kernels->card = "other";
  other.nvlink_gb_s.value = 400;
  other.kernels->collectives.nccl.simple_gb_s = 320;
  other.kernels->collectives.source = "nccl: o.csv";
  borrow(card, "collectives", other);
  EXPECT_DOUBLE_EQ(card.kernels->collectives.nccl.simple_gb_s, 80);
  EXPECT_EQ(card.kernels->collectives.source, "estimated for paper from other: nccl: o.csv");
  EXPECT_THROW(borrow(card, "gem", other), InputError);
}

}  // namespace
}  // namespace tessera
