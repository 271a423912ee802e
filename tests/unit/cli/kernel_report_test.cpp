// What `tessera kernel` prints, from a launch made up so that every figure can be worked out by hand.
#include "sim/cli/kernel_report.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"
#include "tests/support/captured.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// 10 SMs at 1 GHz, 1,000 FLOP a clock and SM: 10 TFLOP/s; 100 GB/s of HBM, 400 of L2.
Gpu toy() {
  Gpu gpu;
  gpu.name = "toy", gpu.title = "Toy card";
  gpu.sms = {10, ""}, gpu.max_clock_mhz = {1000, ""};
  gpu.bf16_flops_per_clk_sm = {1000, ""};
  gpu.hbm_gb_s = {100, ""}, gpu.l2_gb_s = {400, ""};
  return gpu;
}

LaunchResult launch(std::int64_t loaded, std::int64_t stored, std::int64_t read, std::int64_t written) {
  LaunchResult l;
  l.time_ps = 8'000'000;  // 8 us
  l.sm_busy_ps = 120e6;   // CTAs x ps: 1.5 on each of 10 SMs on average
  l.ctas = 20, l.ctas_per_sm = 2;
  l.loaded_bytes = loaded, l.stored_bytes = stored;
  l.hbm_read_bytes = read, l.hbm_write_bytes = written;
  l.executed_flops = 40'000'000;
  return l;
}

KernelReport report(const Gpu& gpu) {
  KernelReport r;
  r.title = "made up";
  r.gpu = &gpu;
  r.time.total = 10, r.time.compute = 4, r.time.hbm = 6, r.time.launch = 2;
  r.useful_flops = 20e6;
  r.parts.push_back({"first", 8, launch(400'000, 100'000, 300'000, 100'000)});
  r.parts.push_back({"second", 2, launch(100'000, 0, 100'000, 0)});
  r.extra_bytes = 4096, r.sram_bytes_per_cta = 2048;
  return r;
}

TEST(KernelReport, SumsAreOverItsPartsAndRatesOverItsTime) {
  const Gpu gpu = toy();
  const Json j = Json::parse(to_json(report(gpu)));
  EXPECT_EQ(j["gpu"], "toy");
  EXPECT_EQ(j["time_us"], 10);
  EXPECT_EQ(j["hbm_read_bytes"], 400'000);
  EXPECT_EQ(j["hbm_write_bytes"], 100'000);
  EXPECT_EQ(j["l2_read_bytes"], 500'000);
  EXPECT_EQ(j["l2_write_bytes"], 100'000);
  EXPECT_DOUBLE_EQ(j["l2_hit_ratio"], 1 - 400.0 / 500);
  EXPECT_EQ(j["executed_flops"], 80'000'000);
  EXPECT_DOUBLE_EQ(j["tflops"], 2) << "useful ones: 20 M in 10 us";
  EXPECT_DOUBLE_EQ(j["hbm_gb_s"], 50) << "500,000 bytes in 10 us";
  EXPECT_DOUBLE_EQ(j["hbm_percent_of_peak"], 50);
  EXPECT_DOUBLE_EQ(j["occupancy"], 1.5);
  EXPECT_EQ(j["ctas"], 20);
  EXPECT_EQ(j["peak_extra_bytes"], 4096);
  EXPECT_EQ(j["sram_bytes_per_cta"], 2048);
  ASSERT_EQ(j["kernels"].size(), 2u);
  EXPECT_EQ(j["kernels"][1]["kernel"], "second");
}

TEST(KernelReport, NamesWhatBindsIt) {
  const Gpu gpu = toy();
  KernelReport r = report(gpu);
  EXPECT_EQ(Json::parse(to_json(r))["roofline"], "memory-bound, 50 % of HBM peak");
  r.time.compute = 7;
  EXPECT_EQ(Json::parse(to_json(r))["roofline"],
            "compute-bound, 80 % of the tensor peak");  // 8 of 10 TFLOP/s
  r.time.launch = 5.1;
  EXPECT_EQ(Json::parse(to_json(r))["roofline"],
            "launch-bound, 51 % of the time is launches and small kernels");
}

TEST(KernelReport, BytesThatAreCountedButNotTimedDoNotRaiseTheShareOfPeak) {
  const Gpu gpu = toy();
  KernelReport r = report(gpu);
  r.unsimulated_read = 1'000'000, r.unsimulated_write = 500'000;
  const Json j = Json::parse(to_json(r));
  EXPECT_EQ(j["hbm_read_bytes"], 1'400'000);
  EXPECT_EQ(j["hbm_write_bytes"], 600'000);
  EXPECT_DOUBLE_EQ(j["hbm_percent_of_peak"], 50);
  EXPECT_NE(to_text(r).find("counted in the bytes, not in the time"), std::string::npos);
}

TEST(KernelReport, WithoutLoadsThereIsNoHitRatioToDivideBy) {
  const Gpu gpu = toy();
  KernelReport r = report(gpu);
  r.parts = {{"store", 10, launch(0, 100, 0, 100)}};
  EXPECT_EQ(Json::parse(to_json(r))["l2_hit_ratio"], 0);
}

TEST(KernelReport, ForPeopleItShowsBytesPerLevelWithTheirShareOfPeak) {
  const Gpu gpu = toy();
  const std::string text = to_text(report(gpu));
  EXPECT_EQ(text.find("made up on Toy card\n"), 0u);
  EXPECT_NE(text.find("390.62 KiB"), std::string::npos) << "400,000 bytes read from HBM\n" << text;
  EXPECT_NE(text.find("20 CTAs, 2 an SM at most, 1.50 on average"), std::string::npos) << text;
  EXPECT_EQ(text.find("outside the range"), std::string::npos);
  KernelReport far = report(gpu);
  far.time.in_range = false;
  EXPECT_NE(to_text(far).find("outside the range"), std::string::npos);
}

TEST(SmTimeline, SlicesTileEachCtaAndEmptyOnesAreLeftOut) {
  CtaSpan whole{}, short_one{};
  whole.cta = 7, whole.sm = 3, whole.slot = 1;
  whole.start_ps = 1'000'000, whole.loop_ps = 3'000'000, whole.end_ps = 10'000'000;
  short_one.cta = 8;
  short_one.start_ps = short_one.loop_ps = 2'000'000, short_one.end_ps = 4'000'000;  // no prologue
  const Json j = Json::parse(sm_timeline({whole, short_one}));
  ASSERT_EQ(j["traceEvents"].size(), 3u);
  const Json &prologue = j["traceEvents"][0], &loop = j["traceEvents"][1];
  EXPECT_EQ(prologue["name"], "prologue");
  EXPECT_EQ(prologue["ph"], "X");
  EXPECT_EQ(prologue["pid"], 3);
  EXPECT_EQ(prologue["tid"], 1);
  EXPECT_DOUBLE_EQ(prologue["ts"], 1);  // us
  EXPECT_DOUBLE_EQ(prologue["dur"], 2);
  EXPECT_DOUBLE_EQ(loop["ts"], 3);
  EXPECT_DOUBLE_EQ(loop["dur"], 7);
  EXPECT_EQ(loop["args"]["cta"], 7);
  EXPECT_EQ(j["traceEvents"][2]["name"], "loop");
}

// The command itself.
int run_kernel(const std::string& words) {
  CLI::App app;
  int code = -1;
  add_kernel_commands(app, code);
  app.parse("kernel " + words);
  return code;
}
test::Captured kernel(const std::string& words) {
  return test::captured([&] { return run_kernel(words); });
}

TEST(KernelCommand, ReportsTheKeysOfTheInterface) {
  for (const char* words : {"gemm --m 256 --n 512 --k 128 --json", "copy --bytes 1M --json",
                            "attention-flash --gpu a100-sxm-80g --heads 4 --q-len 256 --json",
                            "attention-standard --gpu a100-sxm-80g --heads 4 --q-len 256 --json",
                            "attention-decode --gpu h100-sxm --heads 8 --kv-heads 2 --kv-len 1k --json"}) {
    const Json j = kernel(words).json();
    for (const char* key :
         {"time_us", "useful_flops", "executed_flops", "tflops", "hbm_read_bytes", "hbm_write_bytes",
          "l2_hit_ratio", "peak_extra_bytes", "sram_bytes_per_cta", "ctas", "occupancy", "hbm_gb_s", "terms"})
      EXPECT_TRUE(j.contains(key)) << words << ": " << key;
    EXPECT_GT(j["time_us"], 0) << words;
    EXPECT_GE(j["l2_hit_ratio"], 0) << words;
    EXPECT_LE(j["l2_hit_ratio"], 1) << words;
  }
}

TEST(KernelCommand, AProductTakesTwoOperationsPerMultiplyAdd) {
  const Json j = kernel("gemm --m 256 --n 512 --k 128 --json").json();
  EXPECT_EQ(j["useful_flops"], 2.0 * 256 * 512 * 128);
  EXPECT_GE(j["executed_flops"].get<double>(), j["useful_flops"].get<double>()) << "tiles pad, never cut";
  EXPECT_GE(j["hbm_read_bytes"].get<std::int64_t>(), 2 * (256 * 128 + 128 * 512))
      << "each operand once at least";
}

TEST(KernelCommand, ACopyReadsAndWritesEveryByteOnce) {
  const Json j = kernel("copy --gpu l40s --bytes 64M --l2 off --json").json();
  EXPECT_EQ(j["hbm_read_bytes"], 64 << 20);
  EXPECT_EQ(j["hbm_write_bytes"], 64 << 20);
  EXPECT_EQ(j["useful_flops"], 0);
}

TEST(KernelCommand, WritesTheTimelineItIsAskedFor) {
  const std::string path = test::scratch("sms.json");
  kernel("gemm --m 256 --n 512 --k 128 --json --out " + path);
  const Json j = Json::parse(std::ifstream(path));
  EXPECT_FALSE(j["traceEvents"].empty());
  EXPECT_NE(test::complaint([] {
              return run_kernel("gemm --m 8 --n 8 --k 8 --out /nowhere/sms.json");
            }).find("/nowhere/sms.json: cannot be written"),
            std::string::npos);
}

TEST(KernelCommand, EveryKernelOfTheListIsASubcommand) {
  CLI::App app;
  int code = 0;
  add_kernel_commands(app, code);
  const CLI::App* all = app.get_subcommand("kernel");
  EXPECT_EQ(all->get_subcommands([](const CLI::App*) { return true; }).size(), kernel_entries().size());
  for (const char* name :
       {"attention-standard", "attention-flash", "attention-decode", "gemm", "copy", "hbm"})
    EXPECT_NO_THROW(static_cast<void>(all->get_subcommand(name))) << name;
}

}  // namespace
}  // namespace tessera
