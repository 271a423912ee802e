// FlashAttention-2 and -3 forward on an H100, contiguous keys, fp16: the TFLOP/s of the FlashAttention-3
// paper's figures (16k tokens in all, hidden size 2048), as transcribed in public. Useful FLOPs count half of
// a causal square. FA3's rates come from the paged kernels' tables; FA2's from two constants
// (attention_sim.cpp).
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "sim/gpu/attention_sim.hpp"

namespace tessera {
namespace {

struct Curve {
  const char* kernel;
  int head_dim;
  bool causal;
  std::array<double, 6> tflops;  // 512 .. 16k tokens a sequence
};
constexpr Curve kCurves[] = {
    {"fa2", 64, false, {282, 306, 318, 321, 322, 324}},  {"fa3", 64, false, {333, 392, 460, 476, 496, 497}},
    {"fa2", 64, true, {180, 229, 262, 284, 295, 299}},   {"fa3", 64, true, {197, 265, 371, 420, 460, 473}},
    {"fa2", 128, false, {309, 350, 362, 368, 370, 370}}, {"fa3", 128, false, {467, 565, 625, 638, 646, 648}},
    {"fa2", 128, true, {191, 260, 298, 319, 333, 335}},  {"fa3", 128, true, {292, 423, 521, 579, 602, 616}},
};

double simulated_tflops(const Gpu& gpu, const Curve& curve, std::int64_t length) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = 2048 / curve.head_dim;
  p.head_dim = p.v_head_dim = curve.head_dim;
  p.causal = curve.causal;
  p.sequences.assign(static_cast<std::size_t>(16384 / length), {length, length});
  AttentionSimOptions options;
  options.kernel = curve.kernel;
  options.l2 = L2Mode::on;
  const double us = simulate_attention(gpu, p, options).time.total;
  return 4.0 * 16384 * static_cast<double>(length) * 2048 * (curve.causal ? 0.5 : 1) / us * 1e-6;
}

TEST(FlashCurves, EveryPointWithinFifteenPercentEightOnAverage) {
  const Gpu gpu = load_gpu("h100-sxm");
  double sum = 0, worst = 0;
  int points = 0;
  for (const Curve& curve : kCurves) {
    std::int64_t length = 512;
    for (const double published : curve.tflops) {
      const double error = 100 * (simulated_tflops(gpu, curve, length) / published - 1);
      EXPECT_LE(std::abs(error), 15) << curve.kernel << " d" << curve.head_dim
                                     << (curve.causal ? " causal " : " ") << length;
      sum += std::abs(error), worst = std::max(worst, std::abs(error));
      ++points, length *= 2;
    }
  }
  std::printf("[ measured ] %d points: mean error %.1f %%, worst %.1f %%\n", points, sum / points, worst);
  EXPECT_LE(sum / points, 8);
}

// FA2 on an A100 (liangan1/GPU_travel): its shape with 32 heads of 128.
TEST(FlashCurves, FlashAttention2OnAnA100) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  struct Point {
    std::int64_t batch, queries, keys;
    bool causal;
    double tflops;
  };
  for (const Point& point : {Point{16, 1024, 1024, false, 177.7}, Point{4, 1024, 4096, false, 183},
                             Point{1, 4096, 4096, false, 185.6}, Point{16, 1024, 1024, true, 143.7},
                             Point{1, 4096, 4096, true, 156}}) {
    AttentionProblem p;
    p.q_heads = p.kv_heads = 32;
    p.causal = point.causal;
    p.sequences.assign(static_cast<std::size_t>(point.batch), {point.queries, point.keys});
    AttentionSimOptions options;
    options.l2 = L2Mode::on;
    const double us = simulate_attention(gpu, p, options).time.total;
    const double tflops = 4.0 * static_cast<double>(point.batch * point.queries * point.keys) * 4096 *
                          (point.causal ? 0.5 : 1) / us * 1e-6;
    const double error = 100 * (tflops / point.tflops - 1);
    std::printf("[ measured ] A100 FA2 B%lld %lldx%lld%s: %.0f TFLOP/s, published %.0f (%+.1f %%)\n",
                static_cast<long long>(point.batch), static_cast<long long>(point.queries),
                static_cast<long long>(point.keys), point.causal ? " causal" : "", tflops, point.tflops,
                error);
    EXPECT_LE(std::abs(error), 15);
  }
}

}  // namespace
}  // namespace tessera
