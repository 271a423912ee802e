// What a GPU file must hold, what is derived from it, and how mistakes in one are reported.
#include "models/hardware/gpu.hpp"

#include <gtest/gtest.h>

#include "models/hardware/list.hpp"
#include "tests/support/spec_text.hpp"

namespace tessera {
namespace {

// A small card whose every derived figure can be worked out by hand: 10 SMs at 1 GHz. Its kernel behaviour is
// written in place, so these tests need no other file.
std::string toy(const std::string& change_from = "", const std::string& change_to = "") {
  std::string text = R"(name: toy
title: Toy card
architecture: ada
status: estimated
source: worked example
sms: 10
max_clock_mhz: 1000
bf16_flops_per_clk_sm: 512
fp8_flops_per_clk_sm: 1024
int8_flops_per_clk_sm: 0
fp4_flops_per_clk_sm: 4096
datasheet_bf16_tflops: 5
exp_per_clk_sm: 16
max_threads_per_sm: 1536
smem_per_cta_bytes: 101376
smem_per_sm_bytes: 102400
memory_bytes: {value: 17179869184, source: data sheet}
hbm_gb_s: 400
hbm_achieved_fraction: {value: 0.9, source: "estimated: guess"}
l2_bytes: 4194304
l2_partitions: 1
l2_gb_s: 2000
dram_latency_ns: 300
l2_latency_ns: 120
nvlink_gb_s: 0
pcie_gb_s: 25
graph_launch_us: 1
stream_launch_us: 2
gpus_per_node: 2
tdp_w: 100
kernels: {name: toy, card: toy}
)";
  if (!change_from.empty()) {
    const std::size_t at = text.find(change_from);
    EXPECT_NE(at, std::string::npos) << change_from;
    text.replace(at, change_from.size(), change_to);
  }
  return text;
}

Gpu read(const std::string& text) { return test::spec_of<Gpu>(text, "toy.yaml"); }

std::string error_of(const std::string& text) { return test::spec_error<Gpu>(text, "toy.yaml"); }

TEST(Gpu, PeakIsRatePerClockTimesSmsTimesMaximumClock) {
  const Gpu gpu = read(toy());
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::bf16), 512.0 * 10 * 1e9);
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::fp16), gpu.peak_flops(DType::bf16));
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::fp8), 1024.0 * 10 * 1e9);
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::fp4), 4096.0 * 10 * 1e9);
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::fp32), 256.0 * 10 * 1e9);
}

TEST(Gpu, AFormatWithoutUnitsOfItsOwnRunsAtTheBf16Rate) {
  const Gpu gpu = read(toy());
  EXPECT_DOUBLE_EQ(gpu.peak_flops(DType::int8), gpu.peak_flops(DType::bf16));
}

TEST(Gpu, UnitsOfDerivedFigures) {
  const Gpu gpu = read(toy());
  EXPECT_DOUBLE_EQ(gpu.clock_ghz(), 1.0);
  EXPECT_DOUBLE_EQ(gpu.hbm_bytes_per_us(), 400e3);  // 400 GB/s move 400,000 bytes in a microsecond
}

TEST(Gpu, EveryNumberIsRequiredSoNoCapacityIsDefaulted) {
  const std::vector<std::string> lines{
      "sms: 10\n",
      "max_clock_mhz: 1000\n",
      "bf16_flops_per_clk_sm: 512\n",
      "fp8_flops_per_clk_sm: 1024\n",
      "hbm_gb_s: 400\n",
      "l2_bytes: 4194304\n",
      "l2_partitions: 1\n",
      "dram_latency_ns: 300\n",
      "nvlink_gb_s: 0\n",
      "max_threads_per_sm: 1536\n",
      "gpus_per_node: 2\n",
      "exp_per_clk_sm: 16\n",
      "pcie_gb_s: 25\n",
      "graph_launch_us: 1\n",
      "tdp_w: 100\n",
      "smem_per_cta_bytes: 101376\n",
      "title: Toy card\n",
      "architecture: ada\n",
      "status: estimated\n",
      "kernels: {name: toy, card: toy}\n",
  };
  for (const std::string& line : lines) {
    const std::string key = line.substr(0, line.find(':'));
    EXPECT_NE(error_of(toy(line, "")).find(key + ": missing, expected "), std::string::npos) << key;
    std::string misspelt = line;
    std::swap(misspelt[1], misspelt[2]);
    const std::string message = error_of(toy(line, misspelt));
    EXPECT_NE(message.find("unknown key"), std::string::npos) << message;
    EXPECT_NE(message.find("did you mean '" + key + "'?"), std::string::npos) << message;
  }
}

TEST(Gpu, MistakesAreNamedWithPlaceUnitAndRange) {
  EXPECT_EQ(error_of(toy("sms: 10", "sms: 0")),
            "toy.yaml:6:6: sms: 0 is out of range, expected a number from 1 to 1024");
  EXPECT_EQ(error_of(toy("hbm_gb_s: 400", "hbm_gb_s: fast")),
            "toy.yaml:18:11: hbm_gb_s: 'fast' is not valid, expected a number of GB/s");
  EXPECT_NE(error_of(toy("architecture: ada", "architecture: hoper")).find("did you mean 'hopper'?"),
            std::string::npos);
  EXPECT_NE(
      error_of(toy("status: estimated", "status: guessed")).find("expected one of calibrated, estimated"),
      std::string::npos);
  EXPECT_NE(error_of(toy("tdp_w: 100", "tpd_w: 100")).find("tdp_w"), std::string::npos);
  EXPECT_NE(error_of(toy("l2_partitions: 1", "l2_partitions: 3")).find("out of range"), std::string::npos);
  EXPECT_NE(error_of(toy("value: 0.9", "value: 1.1")).find("hbm_achieved_fraction: 1.1 is out of range"),
            std::string::npos);
}

TEST(Gpu, FiguresThatContradictEachOtherAreRefused) {
  EXPECT_NE(error_of(toy("smem_per_cta_bytes: 101376", "smem_per_cta_bytes: 202400"))
                .find("smem_per_cta_bytes: a CTA cannot"),
            std::string::npos);
  EXPECT_NE(error_of(toy("l2_latency_ns: 120", "l2_latency_ns: 320")).find("l2_latency_ns: an L2 hit cannot"),
            std::string::npos);
  EXPECT_NE(
      error_of(toy("graph_launch_us: 1", "graph_launch_us: 3")).find("graph_launch_us: a replayed graph"),
      std::string::npos);
  EXPECT_NE(error_of(toy("l2_bytes: 4194304", "l2_bytes: 27179869184")).find("larger than device memory"),
            std::string::npos);
}

TEST(Gpu, WhatIsWrittenReadsBackTheSame) {
  const std::string once = emit_yaml(to_yaml(read(toy())));
  EXPECT_EQ(emit_yaml(to_yaml(read(once))), once);
  EXPECT_NE(once.find("estimated: guess"), std::string::npos) << "sources survive";
}

TEST(Gpu, SchemaGivesEveryNumberADocAndEveryPhysicalOneAUnit) {
  int fields = 0;
  for (const SchemaEntry& entry : schema_of<Gpu>()) {
    if (entry.path.starts_with("kernels")) continue;
    ++fields;
    EXPECT_FALSE(entry.doc.empty()) << entry.path;
    for (const char* suffix : {"_mhz", "_gb_s", "_bytes", "_ns", "_us", "_w", "_tflops"})
      if (entry.path.ends_with(suffix)) {
        EXPECT_FALSE(entry.unit.empty()) << entry.path;
      }
  }
  EXPECT_EQ(fields, 30);
}

TEST(Gpu, SummaryCountsEstimatesAndConvertsUnits) {
  const GpuSummary row = summary_of(read(toy()));
  EXPECT_EQ(row.name, "toy");
  EXPECT_EQ(row.estimated_numbers, 1);
  EXPECT_DOUBLE_EQ(row.memory_gib, 16);
  EXPECT_DOUBLE_EQ(row.l2_mib, 4);
  EXPECT_DOUBLE_EQ(row.peak_bf16_tflops, 5.12);
  EXPECT_EQ(row.kernels, "toy");
}

TEST(DType, BytesAndNames) {
  EXPECT_EQ(bytes_of(DType::bf16), 2);
  EXPECT_EQ(bytes_of(DType::fp16), 2);
  EXPECT_EQ(bytes_of(DType::fp8), 1);
  EXPECT_EQ(bytes_of(DType::int8), 1);
  EXPECT_EQ(bytes_of(DType::fp4), 0.5);
  EXPECT_EQ(bytes_of(DType::fp32), 4);
  for (const DType type : {DType::bf16, DType::fp16, DType::fp8, DType::int8, DType::fp4, DType::fp32})
    EXPECT_EQ(parse_dtype(name_of(type)), type);
}

TEST(DType, SpellingsOfCheckpointsAndEngineFlags) {
  EXPECT_EQ(parse_dtype("bfloat16"), DType::bf16);
  EXPECT_EQ(parse_dtype("float16"), DType::fp16);
  EXPECT_EQ(parse_dtype("half"), DType::fp16);
  EXPECT_EQ(parse_dtype("fp8_e4m3"), DType::fp8);
  EXPECT_EQ(parse_dtype("nvfp4"), DType::fp4);
}

TEST(DType, AnUnknownNameSuggestsTheNearest) {
  try {
    parse_dtype("bf61");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "'bf61' is not a number format, expected one of bf16, fp16, fp8, int8, fp4, fp32, did you "
                 "mean 'bf16'?");
  }
}

}  // namespace
}  // namespace tessera
