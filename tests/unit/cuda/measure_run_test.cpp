// The measuring run on an emulated card: every bench at a small size gives a right result, and budgets,
// interruptions, resuming and tables do what they say.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "kernels/measure/attention_bench.hpp"
#include "kernels/measure/memory_bench.hpp"
#include "tests/unit/cuda/measure_fixture.hpp"
#include "validation/kernels.hpp"

namespace tessera::measure {
namespace {

// Every kernel once, small enough to emulate.
const char* const kTiny =
    "name: tiny\nwarmup: 1\nrepeats: 3\n"
    "gemm: [{m: [5], n: [16], k: [24], gemm_dtype: [bfloat16, float16], copies: 2}]\n"
    "context_attention: [{batch_size: [2], isl_tokens: [70], num_heads: 2, num_key_value_heads: 1}]\n"
    "generation_attention:\n"
    "  - {batch_size: [2], past_kv_tokens: [300], num_heads: 4, num_key_value_heads: 2, head_dim: 64}\n"
    "  - {batch_size: [1], past_kv_tokens: [300], num_heads: 2, num_key_value_heads: 1, window_size_tokens: "
    "100}\n"
    "attention_standard: [{batch_size: [1], isl_tokens: [50], num_heads: 1, num_key_value_heads: 1}]\n"
    "kv_block_copy: [{block_bytes: [64, 8208], blocks: [5]}]\n"
    "hbm: [{bytes: [4096, 20000]}]\n"
    "l2: [{bytes: [16384]}]\n"
    "latency: [{footprint_bytes: [4096], stride_bytes: [64], through_l1: true}, "
    "{footprint_bytes: [32768], stride_bytes: [8192], sm: [1, 99]}]\n"
    "sram: [{threads: [64]}]\n"
    "launch: [{launches: [3]}]\n"
    "host_copy: [{bytes: [64]}]\n"
    "in_flight: [{ctas_per_4_sms: [1], loads: [1, 2, 4, 8]}]\n"
    "kv_gather: [{block_bytes: [64, 1024], bytes: [16384]}]\n";

TEST_F(MeasureRun, EveryBenchGivesRightResults) {
  const RunReport report = run(kTiny);
  EXPECT_EQ(report.wrong, 0u) << progress_.str();
  EXPECT_EQ(report.skipped, 1u) << progress_.str();  // SM 99
  EXPECT_EQ(report.measured + report.skipped, report.planned);
  EXPECT_EQ(report.left, 0u);
  EXPECT_EQ(report.files.size(), benches().size());
  EXPECT_EQ(machine_.allocated, 0) << "memory is given back";
}

TEST_F(MeasureRun, TablesAreReadAsThePublicOnes) {
  run("name: p\nrepeats: 3\n"
      "gemm: [{m: [5], n: [16], k: [24, 32]}, {m: [5], n: [16], k: [24], copies: 0}]\n"
      "context_attention: [{batch_size: [1], isl_tokens: [9], num_heads: 1, num_key_value_heads: 1}]\n"
      "generation_attention: [{batch_size: [1], past_kv_tokens: [9], num_heads: 1, num_key_value_heads: "
      "1}]\n");
  const auto loaded = [&](const char* kernel) {
    return MeasurementTable::load(path("out_" + std::string(kernel) + ".csv"));
  };
  const MeasurementTable gemm = loaded("gemm");
  EXPECT_STREQ(kernel_of(gemm).name, "gemm");
  EXPECT_EQ(gemm.size(), 3u);
  EXPECT_EQ(gemm.row(0).integer("n"), 16);
  EXPECT_DOUBLE_EQ(gemm.row(0).latency_us(), 1e3 * machine_.op_ms);
  EXPECT_FALSE(gemm.row(0).flagged());
  EXPECT_EQ(gemm.row(0).text("device"), "Emulated Card");
  EXPECT_EQ(gemm.row(0).text("date"), "2026-01-02");
  EXPECT_EQ(gemm.row(0).text("commit"), "abc");
  EXPECT_STREQ(kernel_of(loaded("context_attention")).name, "context_attention");
  const MeasurementTable decode = loaded("generation_attention");
  EXPECT_STREQ(kernel_of(decode).name, "generation_attention");
  for (const char* kernel : {"gemm", "context_attention", "generation_attention"}) {
    const MeasurementTable table = loaded(kernel);
    table.need_columns(kernel_validator(kernel).columns);
    for (std::size_t i = 0; i < table.size(); ++i)
      // What was measured past the L2 is not what the public tables hold.
      EXPECT_EQ(kernel_validator(kernel).covers(table.row(i)), table.row(i).integer("copies_asked") != 0)
          << kernel;
  }
}

TEST_F(MeasureRun, OneKernelWritesTheFileItself) {
  const RunReport report = run(kThree);
  EXPECT_EQ(report.files, std::vector<std::string>{options_.out});
  EXPECT_EQ(MeasurementTable::load(options_.out).size(), 3u);
}

TEST_F(MeasureRun, AFolderGetsOneOfTheCardWithOneTableAKernel) {
  machine_.device.name = "NVIDIA RTX PRO 6000 (Server)";
  options_.out = path("measured") + "/";
  const RunReport report = run(kThree);
  EXPECT_EQ(report.files, std::vector<std::string>{options_.out + "nvidia-rtx-pro-6000-server/sram.csv"});
  EXPECT_EQ(MeasurementTable::load(report.files[0]).size(), 3u);
}

TEST_F(MeasureRun, AnInterruptionKeepsRowsAndResumingBringsTheRest) {
  stop_after_ = 1;
  const RunReport first = run(kThree);
  EXPECT_TRUE(first.interrupted);
  EXPECT_EQ(first.measured, 1u);
  EXPECT_EQ(first.left, 2u);
  stop_after_ = 1'000'000, options_.resume = true;
  const RunReport second = run(kThree);
  EXPECT_EQ(second.already, 1u);
  EXPECT_EQ(second.measured, 2u);
  const std::string all = read_file(options_.out);

  options_.out = path("at_once.csv");
  run(kThree);
  EXPECT_EQ(read_file(options_.out), all) << "in pieces or at once: the same bytes";
}

TEST_F(MeasureRun, ALineCutInTheMiddleIsMeasuredAgain) {
  run(kThree);
  const std::string whole = read_file(options_.out);
  std::ofstream(options_.out, std::ios::binary) << whole.substr(0, whole.size() - 20);
  options_.resume = true;
  const RunReport report = run(kThree);
  EXPECT_EQ(report.already, 2u);
  EXPECT_EQ(report.measured, 1u);
  EXPECT_EQ(read_file(options_.out), whole);
}

TEST_F(MeasureRun, ABudgetLeavesWhatWouldPassIt) {
  // Every look at the clock takes two seconds; the estimates are far below.
  options_.seconds = [this] { return now_ += 2; };
  options_.budget_s = 7;
  const RunReport report = run("name: p\nrepeats: 2\nsram: [{threads: [32, 64, 96, 128, 160, 192]}]\n");
  EXPECT_GT(report.measured, 0u);
  EXPECT_GT(report.left, 0u);
  EXPECT_FALSE(report.interrupted);
  EXPECT_EQ(report.measured + report.left, 6u);
}

TEST_F(MeasureRun, RefusesToOverwriteAndToMix) {
  run(kThree);
  EXPECT_THROW(run(kThree), InputError);  // there already
  options_.resume = true;
  EXPECT_THROW(run("name: p\nlaunch: [{launches: [3]}]\n"), InputError);  // another kernel's table
  machine_.device.name = "Another, Card";
  try {
    run(kThree);
    FAIL() << "rows of two cards in one table";
  } catch (const InputError& error) {
    EXPECT_NE(
        std::string(error.what()).find(":2: device: measured on 'Emulated Card', this is 'Another  Card'"),
        std::string::npos)
        << error.what();
  }
}

TEST_F(MeasureRun, AWrongResultIsFlaggedAndCounted) {
  class Broken : public test::EmulatedMachine {
    void multiply(const Product& p) override { p.c[0] = 0; }  // the rest stays poison
  } broken;
  const RunReport report = run_on(broken, "name: p\ngemm: [{m: [5], n: [16], k: [24]}]\n");
  EXPECT_EQ(report.wrong, 1u);
  const MeasurementTable table = MeasurementTable::load(options_.out);
  EXPECT_EQ(table.row(0).text("flag"), "wrong_result");
  EXPECT_NE(progress_.str().find("WRONG"), std::string::npos);
}

TEST_F(MeasureRun, WithoutAGemmLibraryTheRestIsMeasured) {
  machine_.has_gemm = false;
  const RunReport report = run("name: p\ngemm: [{m: [1], n: [8], k: [8]}]\nsram: [{threads: [32]}]\n");
  EXPECT_EQ(report.skipped, 1u);
  EXPECT_EQ(report.measured, 1u);
  EXPECT_NE(progress_.str().find("skipped: no library here"), std::string::npos);
}

TEST_F(MeasureRun, PointsThatNeedMoreMemoryThanTheCardHasAreSkipped) {
  const RunReport report = run("name: p\nhbm: [{operation: [read], bytes: [1073741824]}]\n");
  EXPECT_EQ(report.skipped, 1u);
  EXPECT_NE(progress_.str().find("the card has 32.00 MiB"), std::string::npos) << progress_.str();
}

TEST_F(MeasureRun, TheAttentionOfATableIsTheLaunchTheSimulatorTimes) {
  run("name: p\nrepeats: 1\n"
      "generation_attention: [{batch_size: [2], past_kv_tokens: [900], num_heads: 8, num_key_value_heads: "
      "2}]\n");
  using Forward = cuda::FlashForwardKernel<128, cuda::Float16::bf16>;
  using Combine = cuda::FlashCombineKernel<128, cuda::Float16::bf16>;
  AttentionProblem p;
  p.q_heads = 8, p.kv_heads = 2, p.page_tokens = 64;
  p.sequences = {{1, 901}, {1, 901}};
  const FlashLaunch launch =
      fa2::launch(p, {machine_.device.sms, machine_.device.smem_per_cta, machine_.device.smem_per_sm, false});
  EXPECT_EQ(machine_.launches[cuda::kernel_number<Forward>()], 2);  // the check and one of the timed ops
  EXPECT_EQ(machine_.launches[cuda::kernel_number<Combine>()], launch.combine ? 2 : 0);
  EXPECT_EQ(machine_.launches[cuda::kernel_number<cuda::RowCopyKernel>()],
            2 * std::ssize(launch.copies_before) + 2 * std::ssize(launch.copies_after));
}

TEST(MeasureParts, AWholeNumberOfRoundsIsTimed) {
  const Settings settings{.warmup = 1, .repeats = 2, .min_ops = 8};
  EXPECT_EQ(timing_of(settings, 1).ops, 8);
  EXPECT_EQ(timing_of(settings, 3).ops, 9);
  EXPECT_EQ(timing_of(settings, 6).ops, 12);
  EXPECT_EQ(timing_of(settings, 64).ops, 64);
}

TEST(MeasureParts, MediansAndPercentiles) {
  Sample sample;
  sample.times_ms = {4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(sample.median_ms(), 2.5);
  EXPECT_DOUBLE_EQ(sample.quantile_ms(0), 1);
  EXPECT_DOUBLE_EQ(sample.quantile_ms(1), 4);
  EXPECT_DOUBLE_EQ(sample.quantile_ms(0.1), 1.3);
}

TEST(MeasureParts, TwoLevelsAreFoundAndOneStaysOne) {
  std::vector<double> values;
  for (int i = 0; i < 60; ++i) values.push_back(200 + i % 5);
  for (int i = 0; i < 40; ++i) values.push_back(400 + i % 5);
  const TwoLevels levels = two_levels(values);
  EXPECT_DOUBLE_EQ(levels.low, 202);
  EXPECT_DOUBLE_EQ(levels.high, 402);
  EXPECT_DOUBLE_EQ(levels.low_share, 0.6);
  const TwoLevels flat = two_levels({7, 7, 7});
  EXPECT_EQ(flat.low, 7);
  EXPECT_EQ(flat.high, 7);
}

TEST(MeasureParts, AChainIsOneCycle) {
  for (const std::int64_t count : {1, 2, 3, 1000}) {
    const std::vector<std::int64_t> next = random_cycle(count, 7);
    std::int64_t at = 0, steps = 0;
    do at = next[static_cast<std::size_t>(at)], ++steps;
    while (at != 0);
    EXPECT_EQ(steps, count);
  }
}

TEST(MeasureParts, RandomValuesAreBellShapedAndTheSameEverywhere) {
  double sum = 0, squares = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const double v = cuda::random_value(3, i);
    sum += v, squares += v * v;
  }
  EXPECT_NEAR(sum / 20000, 0, 0.02);
  EXPECT_NEAR(squares / 20000, 1, 0.03);
  static_assert(cuda::random_value(1, 2) == cuda::random_value(1, 2));
  EXPECT_NE(cuda::random_value(1, 2), cuda::random_value(2, 2));
}

TEST(MeasureParts, ErrorsOfPoisonAreInfinite) {
  EXPECT_EQ(relative_error({1, 2}, {1, 2}), 0);
  EXPECT_NEAR(relative_error({1, 2.1}, {1, 2}), 0.1 / std::sqrt(5), 1e-12);
  EXPECT_TRUE(std::isinf(relative_error({1, NAN}, {1, 2})));
  EXPECT_TRUE(std::isinf(relative_error({1}, {0})));
}

}  // namespace
}  // namespace tessera::measure
