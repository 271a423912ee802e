// Figures carried from one card to another, and measured times carried to shapes between them.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/kernel_table.hpp"
#include "models/base/spec.hpp"
#include "models/hardware/rescale.hpp"
#include "tests/support/shipped_gpus.hpp"

namespace tessera {
namespace {

using test::all_gpus;
using test::any_gpu;

// --- rescaled behaviour ----------------------------------------------------------------------------------

// Every figure of a behaviour file, without what is said of it.
std::vector<std::string> figures(const KernelBehaviour& behaviour) {
  std::istringstream text(emit_yaml(to_yaml(behaviour)));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    if (line.find("source") == std::string::npos && line.find("sustained") == std::string::npos)
      lines.push_back(line);
  return lines;
}

// A fraction at a card's limit (0.98 of the pins, all of the tensor rate) may have been cut there.
KernelBehaviour away_from_limits(KernelBehaviour b) {
  for (double* fraction :
       {&b.gemm.compute_fraction, &b.gemm.fp8.compute_fraction, &b.gemm.hbm_fraction, &b.moe.hbm_fraction,
        &b.moe.compute_fraction, &b.attention.rates.hbm_fraction, &b.tile.gemm.compute_fraction,
        &b.tile.gemm.fp8.compute_fraction, &b.tile.gemm.hbm_fraction, &b.tile.attention.rates.hbm_fraction})
    *fraction = 0.5;
  b.attention.fp8.reset(), b.tile.attention.fp8.reset(), b.moe.mxfp4.reset();
  return b;
}

TEST(Rescale, ToTheSameCardNoFigureOfAnyShippedCardMoves) {
  for (const Gpu& gpu : all_gpus()) {
    const KernelBehaviour b = away_from_limits(*gpu.kernels);
    EXPECT_EQ(figures(rescaled(b, gpu, gpu)), figures(b)) << gpu.name;
  }
}

double off(double a, double b) { return a == b ? 0 : std::abs(a / b - 1); }

// Two products and two quotients of doubles.
constexpr double kRounding = 1e-12;

RC_GTEST_PROP(RescaleProperty, ThereAndBackTheTimesAndRatesAreTheSame, ()) {
  const Gpu& from = any_gpu();
  const Gpu& to = any_gpu();
  const KernelBehaviour b = away_from_limits(*from.kernels);
  const KernelBehaviour back = rescaled(rescaled(b, from, to), to, from);
  RC_ASSERT(off(back.gemm.floor_us, b.gemm.floor_us) <= kRounding);
  RC_ASSERT(off(back.gemm.split_us, b.gemm.split_us) <= kRounding);
  RC_ASSERT(off(back.gemm.serial_ns_per_k, b.gemm.serial_ns_per_k) <= kRounding);
  RC_ASSERT(off(back.gemm.l2_feed_gb_s, b.gemm.l2_feed_gb_s) <= kRounding);
  RC_ASSERT(off(back.gemm.fp8.quantise_us, b.gemm.fp8.quantise_us) <= kRounding);
  RC_ASSERT(off(back.attention.rates.launch_us, b.attention.rates.launch_us) <= kRounding);
  RC_ASSERT(off(back.attention.rates.kv_write_us, b.attention.rates.kv_write_us) <= kRounding);
  RC_ASSERT(off(back.attention.rates.cta_gb_s, b.attention.rates.cta_gb_s) <= kRounding);
  RC_ASSERT(off(back.moe.floor_us, b.moe.floor_us) <= kRounding);
  RC_ASSERT(off(back.collectives.nccl.simple_gb_s, b.collectives.nccl.simple_gb_s) <= kRounding);
}

RC_GTEST_PROP(RescaleProperty, OverAThirdCardTheTimesAreThoseOfTheDirectWay, ()) {
  const Gpu& a = any_gpu();
  const Gpu& b = any_gpu();
  const Gpu& c = any_gpu();
  const KernelBehaviour start = away_from_limits(*a.kernels);
  const KernelBehaviour direct = rescaled(start, a, c), over = rescaled(rescaled(start, a, b), b, c);
  RC_ASSERT(off(over.gemm.floor_us, direct.gemm.floor_us) <= kRounding);
  RC_ASSERT(off(over.gemm.l2_feed_gb_s, direct.gemm.l2_feed_gb_s) <= kRounding);
  RC_ASSERT(off(over.attention.rates.combine_us, direct.attention.rates.combine_us) <= kRounding);
  RC_ASSERT(off(over.collectives.custom.two_shot_gb_s, direct.collectives.custom.two_shot_gb_s) <= kRounding);
}

RC_GTEST_PROP(RescaleProperty, FractionsStayFractions, ()) {
  const Gpu& from = any_gpu();
  const KernelBehaviour b = rescaled(*from.kernels, from, any_gpu());
  for (const double share : {b.gemm.compute_fraction, b.gemm.fp8.compute_fraction, b.moe.compute_fraction,
                             b.gemm.hbm_fraction, b.moe.hbm_fraction, b.attention.rates.hbm_fraction})
    RC_ASSERT(share > 0 && share <= 1);
  RC_ASSERT(b.sustained_clock_fraction == 1);
  RC_ASSERT(b.gemm.source.starts_with("estimated for "));
}

// --- measured tables ---------------------------------------------------------------------------------------

GemmShape product(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {m, n, k, DType::bf16, KernelTable::kWeightCopies};
}

// Times far above any floor, so that nothing but the rows decides. Every second as long: every answer too.
RC_GTEST_PROP(KernelTableProperty, RowsTwiceAsSlowGiveTimesTwiceAsLong, ()) {
  const Gpu& gpu = any_gpu();
  KernelTable once, twice;
  for (const std::int64_t m : {1, 16, 256})
    for (const std::int64_t n : {256, 2'048, 16'384})
      for (const std::int64_t k : {256, 2'048, 16'384}) {
        const double us = gemm_time(gpu, product(m, n, k)).total * (*rc::gen::inRange(200, 400) / 20.0);
        once.add_gemm(DType::bf16, m, n, k, us);
        twice.add_gemm(DType::bf16, m, n, k, 2 * us);
      }
  once.finish(gpu), twice.finish(gpu);
  const GemmShape shape =
      product(*rc::gen::inRange<std::int64_t>(1, 300), *rc::gen::inRange<std::int64_t>(200, 20'000),
              *rc::gen::inRange<std::int64_t>(200, 20'000));
  const auto a = once.gemm(gpu, shape), b = twice.gemm(gpu, shape);
  RC_ASSERT(a && b);
  // Logarithms of utilisation shifted by ln 2, through a plane of 16 rows.
  RC_ASSERT(off(b->total, 2 * a->total) <= 1e-6);
  RC_ASSERT(a->in_range == b->in_range);
  RC_ASSERT(a->in_range ==
            (shape.m <= 256 && shape.n >= 256 && shape.n <= 16'384 && shape.k >= 256 && shape.k <= 16'384));
}

RC_GTEST_PROP(KernelTableProperty, DecodesTwiceAsSlowGiveTimesTwiceAsLong, ()) {
  const Gpu& gpu = any_gpu();
  AttentionShape s;
  s.q_heads = 32, s.kv_heads = 8;
  s.block_tokens = KernelTable::kBlockTokens, s.replayed = true;
  KernelTable once, twice;
  for (const std::int64_t sequences : {1, 16, 256})
    for (const std::int64_t context : {64, 1'024, 16'384}) {
      const double us = decode_attention_time(gpu, s, {sequences, sequences * context, {}, 0}).total *
                        (*rc::gen::inRange(200, 400) / 20.0);
      once.add_decode(s, sequences, context, us);
      twice.add_decode(s, sequences, context, 2 * us);
    }
  once.finish(gpu), twice.finish(gpu);
  const auto sequences = *rc::gen::inRange<std::int64_t>(1, 300);
  const DecodeBatch batch{sequences, sequences * *rc::gen::inRange<std::int64_t>(64, 20'000), {}, 0};
  const auto a = once.decode(gpu, s, batch), b = twice.decode(gpu, s, batch);
  RC_ASSERT(a && b);
  RC_ASSERT(off(b->total, 2 * a->total) <= 1e-6);
}

// --- batches -----------------------------------------------------------------------------------------------

RC_GTEST_PROP(PrefillProperty, TheOrderOfChunksChangesNothing, ()) {
  const Gpu& gpu = any_gpu();
  AttentionShape s;
  s.kv_heads = *rc::gen::element(1, 4, 8);
  s.q_heads = s.kv_heads * *rc::gen::element(1, 4);
  std::vector<PrefillChunk> chunks(*rc::gen::inRange<std::size_t>(1, 6));
  for (PrefillChunk& c : chunks)
    c = {*rc::gen::inRange<std::int64_t>(1, 3'000), *rc::gen::element<std::int64_t>(0, 100, 9'000)};
  const double before = prefill_attention_time(gpu, s, chunks).total;
  std::reverse(chunks.begin(), chunks.end());
  RC_ASSERT(off(prefill_attention_time(gpu, s, chunks).total, before) <= 1e-9);  // sums in another order
}

}  // namespace
}  // namespace tessera
