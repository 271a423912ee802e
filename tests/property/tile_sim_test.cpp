// Laws of the tile grain over random programs and cards.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/traffic.hpp"
#include "sim/gpu/attention_sim.hpp"
#include "sim/gpu/program_sim.hpp"

namespace tessera {
namespace {

const Gpu& card() {
  static const std::vector<Gpu> cards = {load_gpu("a100-sxm-80g"), load_gpu("h100-sxm"), load_gpu("l40s")};
  return cards[*rc::gen::inRange<std::size_t>(0, cards.size())];
}

GemmProgram random_gemm() {
  GemmProgram g;
  g.m = *rc::gen::inRange<std::int64_t>(1, 3000);
  g.n = *rc::gen::inRange<std::int64_t>(1, 3000);
  g.k = *rc::gen::inRange<std::int64_t>(1, 3000);
  g.tile = *rc::gen::element(GemmTile{64, 64}, GemmTile{128, 128}, GemmTile{64, 256}, GemmTile{16, 64});
  g.splits = *rc::gen::element(1, 1, 2, 5);
  return g;
}

AttentionProblem random_attention() {
  AttentionProblem p;
  p.kv_heads = *rc::gen::element(1, 2, 4);
  p.q_heads = p.kv_heads * *rc::gen::element(1, 2, 5);
  p.head_dim = p.v_head_dim = *rc::gen::element(64, 128, 256);
  p.window = *rc::gen::element<std::int64_t>(0, 0, 200);
  p.page_tokens = *rc::gen::element(0, 16, 64);
  const int sequences = *rc::gen::inRange(1, 9);
  const bool decode = *rc::gen::arbitrary<bool>();
  for (int i = 0; i < sequences; ++i) {
    const auto queries = decode ? 1 : *rc::gen::inRange<std::int64_t>(1, 700);
    p.sequences.push_back({queries, queries + *rc::gen::inRange<std::int64_t>(0, 3000)});
  }
  return p;
}

FlashForward random_flash(const Gpu& gpu) {
  const FlashCard c = FlashCard::of(gpu);
  const AttentionProblem p = random_attention();
  return (*rc::gen::arbitrary<bool>() ? fa2::launch(p, c) : fa3::launch(p, c)).forward;
}

template <class P>
void check_bytes(const Gpu& gpu, const P& program) {
  const Traffic counted = traffic_of(program);
  L2Tags off = whole_l2(gpu, false), on = whole_l2(gpu, true);
  const LaunchResult without = simulate_program(gpu, program, off);
  RC_ASSERT(without.hbm_read_bytes == counted.read_bytes());
  RC_ASSERT(without.hbm_write_bytes == counted.written_bytes());
  const LaunchResult with = simulate_program(gpu, program, on);
  RC_ASSERT(with.loaded_bytes == counted.read_bytes());
  RC_ASSERT(with.stored_bytes == counted.written_bytes());
  RC_ASSERT(with.hbm_read_bytes <= with.loaded_bytes + 1);
  RC_ASSERT(with.hbm_write_bytes <= with.stored_bytes + 1);
  // Nothing is faster than the tensor cores at the maximum clock or than the pins.
  const double us = static_cast<double>(with.time_ps) * 1e-6;
  RC_ASSERT(us * gpu.peak_flops(DType::bf16) * 1e-6 >=
            static_cast<double>(with.executed_flops) *
                std::min(1.0, gpu.kernels->tile.attention.rates.mma_factor) * 0.7);
  RC_ASSERT(us * gpu.hbm_bytes_per_us() * 1.0001 >=
            static_cast<double>(with.hbm_read_bytes + with.hbm_write_bytes));
}

RC_GTEST_PROP(TileSim, BytesAreConservedAcrossLevels, ()) {
  const Gpu& gpu = card();
  if (*rc::gen::arbitrary<bool>())
    check_bytes(gpu, random_gemm());
  else
    check_bytes(gpu, random_flash(gpu));
}

template <class P>
double time_of(const Gpu& gpu, const P& program) {
  L2Tags on = whole_l2(gpu, true);
  return static_cast<double>(simulate_program(gpu, program, on).time_ps);
}

// List scheduling of unequal CTAs may lose a little when one of them gets shorter (Graham's anomaly): for
// dynamic orders 2 % are allowed. Equal CTAs must never lose.
template <class P>
void check_faster(const Gpu& gpu, const P& program, double allowed) {
  const double before = time_of(gpu, program);
  Gpu better = gpu;
  better.hbm_gb_s.value *= 1.3;
  RC_ASSERT(time_of(better, program) <= before * (1 + allowed) + 2000);
  better = gpu;
  better.l2_gb_s.value *= 1.5;
  RC_ASSERT(time_of(better, program) <= before * (1 + allowed) + 2000);
  better = gpu;
  better.l2_bytes.value *= 2;
  RC_ASSERT(time_of(better, program) <= before * (1 + allowed) + 2000);
  better = gpu;
  better.smem_per_sm_bytes.value *= 2;
  RC_ASSERT(time_of(better, program) <= before * (1 + allowed) + 2000);
}

RC_GTEST_PROP(TileSim, MoreBandwidthOrCacheIsNeverSlower, ()) {
  const Gpu& gpu = card();
  if (*rc::gen::arbitrary<bool>())
    check_faster(gpu, random_gemm(), 0.02);
  else
    check_faster(gpu, random_flash(gpu), 0.02);
}

// Whole calls with fitted parameters: never below what useful work and compulsory bytes allow.
RC_GTEST_PROP(TileSim, NoCallBeatsPhysics, ()) {
  const Gpu& gpu = card();
  AttentionProblem p = random_attention();
  AttentionSimOptions options;
  options.l2 = *rc::gen::element(L2Mode::off, L2Mode::on);
  const double us = simulate_attention(gpu, p, options).time.total;
  RC_ASSERT(us * gpu.peak_flops(DType::bf16) * 1e-6 >= p.useful_flops());
  const GemmShape shape{*rc::gen::inRange<std::int64_t>(1, 5000), *rc::gen::inRange<std::int64_t>(1, 5000),
                        *rc::gen::inRange<std::int64_t>(1, 5000), DType::bf16, *rc::gen::element(0, 1, 6)};
  RC_ASSERT(simulate_gemm(gpu, shape).time.total >= gemm_floor_us(gpu, shape));
}

}  // namespace
}  // namespace tessera
