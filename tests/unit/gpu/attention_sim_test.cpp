// Attention at tile grain: kernels of a call, L2 modes, imbalance.
#include "sim/gpu/attention_sim.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/tiles/traffic.hpp"

namespace tessera {
namespace {

AttentionProblem decode(std::int64_t sequences, std::int64_t keys, int q_heads = 32, int kv_heads = 8) {
  AttentionProblem p;
  p.q_heads = q_heads, p.kv_heads = kv_heads, p.page_tokens = 64;
  p.sequences.assign(static_cast<std::size_t>(sequences), {1, keys});
  return p;
}

std::vector<std::string> kernels_of(const AttentionSimulation& sim) {
  std::vector<std::string> names;
  for (const auto& part : sim.parts) names.emplace_back(part.kernel);
  return names;
}

TEST(AttentionSim, ACallRunsTheLibrarysKernels) {
  const Gpu l40s = load_gpu("l40s"), h100 = load_gpu("h100-sxm");
  using Names = std::vector<std::string>;
  EXPECT_EQ(kernels_of(simulate_attention(l40s, decode(4, 8000))),
            (Names{"kv_write", "copy", "copy", "attention", "combine"}));
  EXPECT_EQ(kernels_of(simulate_attention(l40s, decode(600, 100))),
            (Names{"kv_write", "copy", "copy", "copy", "attention"}))
      << "no splits: the log-sum-exps are laid out too";
  EXPECT_EQ(kernels_of(simulate_attention(h100, decode(4, 8000))),
            (Names{"kv_write", "attention", "combine"}));
}

TEST(AttentionSim, PartsAddUpToTheTotal) {
  const Gpu h100 = load_gpu("h100-sxm");
  const AttentionSimulation sim = simulate_attention(h100, decode(16, 3000));
  double sum = h100.kernels->tile.attention.rates.launch_us;
  for (const auto& part : sim.parts) sum += part.us;
  EXPECT_NEAR(sim.time.total, sum, 1e-9 * sum);
}

TEST(AttentionSim, ReplayedBuffersThatFitL2AreFaster) {
  const Gpu h100 = load_gpu("h100-sxm");
  const AttentionProblem fits = decode(8, 1024);  // 33.6 MB
  AttentionSimOptions cold;
  cold.l2 = L2Mode::on;
  EXPECT_LT(simulate_attention(h100, fits).time.total,
            0.95 * simulate_attention(h100, fits, cold).time.total);
  const AttentionProblem large = decode(8, 16384);
  EXPECT_NEAR(simulate_attention(h100, large).time.total, simulate_attention(h100, large, cold).time.total,
              1e-3);
}

TEST(AttentionSim, APromptFindsTheKeysThatTheKvWriteHasJustUsed) {
  // 2,048 tokens of 8 KV heads: 16.8 MB in and out, well inside L2; a decode's history is long gone.
  const Gpu pro = load_gpu("rtx-pro-6000");
  AttentionSimOptions serving;
  serving.l2 = L2Mode::on;
  AttentionProblem prompt = decode(1, 2048);
  prompt.sequences[0].queries = 2048;
  const auto main = [](const AttentionSimulation& sim) {
    for (const auto& part : sim.parts)
      if (std::string(part.kernel) == "attention") return part.launch.hbm_read_bytes;
    return std::int64_t{-1};
  };
  const std::int64_t q_bytes = 2048LL * 32 * 128 * 2, kv_bytes = 2048LL * 8 * 256 * 2;
  EXPECT_NEAR(static_cast<double>(main(simulate_attention(pro, prompt, serving))),
              static_cast<double>(q_bytes), 0.05 * static_cast<double>(q_bytes));
  EXPECT_GT(main(simulate_attention(pro, decode(1, 2048), serving)), kv_bytes * 99 / 100);
}

TEST(AttentionSim, TheKvWriteIsItsCtasChainAndThenItsBytes) {
  const Gpu h100 = load_gpu("h100-sxm");
  const auto write_us = [&](std::int64_t tokens) {
    AttentionProblem p = decode(1, tokens, 8, 8);
    p.sequences[0].queries = tokens;
    AttentionSimOptions cold;
    cold.l2 = L2Mode::on;
    return simulate_attention(h100, p, cold).parts[0].us;
  };
  const AttentionRates& r = h100.kernels->tile.attention.rates;
  const double token_us = 2 * 8 * 256 * 2 / (h100.hbm_bytes_per_us() * r.hbm_fraction);
  // 512 threads a token: four on each of 132 SMs.
  EXPECT_NEAR(write_us(100), r.kv_write_us + 100 * token_us, 1e-6);
  EXPECT_NEAR(write_us(4 * 528), 4 * r.kv_write_us + 4 * 528 * token_us, 1e-6);
  EXPECT_NEAR(write_us(5 * 528 / 2), 2.5 * r.kv_write_us + 5 * 264 * token_us, 1e-6)
      << "a last wave by its share";
}

TEST(AttentionSim, LongContextsReachTheBandwidthTheyWereGiven) {
  for (const char* name : {"a100-sxm-80g", "h100-sxm", "l40s", "rtx-pro-6000"}) {
    const Gpu gpu = load_gpu(name);
    const AttentionProblem p = decode(64, 32768);
    const double bytes = 64.0 * 32768 * 8 * 256 * 2;
    const double rate = bytes / simulate_attention(gpu, p).time.total;
    const double limit = gpu.hbm_bytes_per_us() * gpu.kernels->tile.attention.rates.hbm_fraction;
    EXPECT_LT(rate, limit) << name;
    // FA2's single stage leaves the memory idle now and then.
    EXPECT_GT(rate, (gpu.kernels->tile.attention.kernel == "fa2" ? 0.8 : 0.9) * limit) << name;
  }
}

TEST(AttentionSim, ShippedTensorCoresAreNotFasterThanAtTheMaximumClock) {
  for (const char* name : {"a100-sxm-80g", "h100-sxm", "h200-sxm", "l40s", "rtx-pro-6000"}) {
    const Gpu gpu = load_gpu(name);
    const double rated =
        gpu.datasheet_bf16_tflops * 1e6 / (gpu.bf16_flops_per_clk_sm * static_cast<double>(gpu.sms.value));
    const double least = 0.999 * std::min(1.0, rated / gpu.max_clock_mhz);
    const AttentionParams& shipped = gpu.kernels->tile.attention;
    EXPECT_GE(shipped.rates.mma_factor, least) << name;
    if (shipped.fp8) {
      EXPECT_GE(shipped.fp8->mma_factor, least) << name;
    }
  }
}

TEST(AttentionSim, OneLongSequenceHoldsUpTheLaunch) {
  // Without splits (multi-head attention under FA2) the longest CTA is the floor.
  const Gpu a100 = load_gpu("a100-sxm-80g");
  AttentionProblem even = decode(32, 2000, 32, 32), skewed = even;
  for (auto& s : skewed.sequences) s.keys = 1000;
  skewed.sequences[0].keys = 33000;
  EXPECT_GT(simulate_attention(a100, skewed).time.total, 1.5 * simulate_attention(a100, even).time.total);
}

TEST(AttentionSim, CausalPromptsCostAboutHalf) {
  const Gpu h100 = load_gpu("h100-sxm");
  AttentionProblem p = decode(1, 8192, 16, 16);
  p.sequences = {{8192, 8192}};
  const double causal = simulate_attention(h100, p).time.total;
  p.causal = false;
  EXPECT_NEAR(causal / simulate_attention(h100, p).time.total, 0.5, 0.08);
}

TEST(AttentionSim, TrafficOfAllKernelsIsCountedOnRequest) {
  const Gpu l40s = load_gpu("l40s");
  AttentionSimOptions options;
  options.l2 = L2Mode::off;
  options.count_small_kernels = true;
  const AttentionSimulation sim = simulate_attention(l40s, decode(4, 8000), options);
  std::int64_t read = 0, written = 0;
  for (const auto& part : sim.parts)
    read += part.launch.hbm_read_bytes, written += part.launch.hbm_write_bytes;
  const Traffic counted = traffic_of_launch(sim.program);
  EXPECT_EQ(read, counted.read_bytes());
  EXPECT_EQ(written, counted.written_bytes());
}

TEST(AttentionSim, ATimelineCoversEveryCtaOfTheMainKernel) {
  const Gpu h100 = load_gpu("h100-sxm");
  std::vector<CtaSpan> spans;
  AttentionSimOptions options;
  options.spans = &spans;
  const AttentionSimulation sim = simulate_attention(h100, decode(40, 500), options);
  std::int64_t end = 0;
  std::vector<int> seen(static_cast<std::size_t>(sim.program.forward.ctas()));
  for (const CtaSpan& span : spans) {
    ++seen[static_cast<std::size_t>(span.cta)];
    EXPECT_LE(span.start_ps, span.loop_ps);
    EXPECT_LE(span.loop_ps, span.end_ps);
    end = std::max(end, span.end_ps);
  }
  for (const int times : seen) EXPECT_EQ(times, 1);
  EXPECT_EQ(end, sim.parts[1].launch.time_ps);
}

}  // namespace
}  // namespace tessera
