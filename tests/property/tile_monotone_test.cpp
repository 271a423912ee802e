// A better card is never slower for a fixed program, assignment and order: the CTAs of every SM, in the order
// in which the base card gave them to it, are replayed on the better one. And SMs have no names: lists dealt
// to other SMs take the same time to the picosecond.
//
// Left free, the hardware's order may lose (Graham's anomaly), as a later test shows: 7 % for one of 10,000
// random launches when L2 doubles.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "kernels/tiles/elementwise_program.hpp"
#include "sim/gpu/gemm_sim.hpp"
#include "sim/gpu/program_sim.hpp"
#include "tests/support/tile_programs.hpp"

namespace tessera {
namespace {

using test::any_card;
using test::any_flash;
using test::any_gemm;

NormProgram random_norm() {
  NormProgram n;
  n.rows = *rc::gen::inRange<std::int64_t>(1, 5000);
  n.hidden = 128 * *rc::gen::inRange(1, 65);
  n.residual = *rc::gen::arbitrary<bool>();
  return n;
}

ElementwiseProgram random_copy() {
  ElementwiseProgram e;
  e.elements = *rc::gen::inRange<std::int64_t>(1, 5'000'000);
  e.inputs = *rc::gen::inRange(1, 3);
  return e;
}

// As the product runs them: GEMM with the card's fitted figures, what has none with the published ones.
template <class P>
KernelRates rates_of(const Gpu& gpu, const P&) {
  return published_rates(gpu);
}
KernelRates rates_of(const Gpu& gpu, const GemmProgram& g) {
  const GemmParams& p = gpu.kernels->tile.gemm;
  KernelRates r;
  r.ps_per_flop =
      1e12 / (gpu.peak_flops(DType::bf16) * p.compute_fraction / static_cast<double>(gpu.sms.value));
  r.step_floor_ps = p.serial_ns_per_k * kGemmKStep * 1e3;
  r.epilogue_ps = p.epilogue_us * g.tile.bm * g.tile.bn / 16384 * 1e6;
  r.hbm_bytes_per_ps = gpu.hbm_bytes_per_us() * p.hbm_fraction * 1e-6;
  r.l2_bytes_per_ps = gpu.l2_gb_s * 1e-3;
  r.store_weight = 3;
  r.wave_quantisation = p.wave_quantisation;
  return r;
}

struct Played {
  LaunchResult result;
  std::vector<CtaSpan> spans;
};

// Likewise: a library picks how many CTAs of a GEMM an SM holds.
template <class P>
LaunchResult launch(const Gpu& gpu, const P& program, L2Tags& tags, SmArray& array,
                    std::vector<CtaSpan>& spans) {
  array.spans = &spans;
  return simulate_launch(program, gpu, rates_of(gpu, program), tags, array);
}
LaunchResult launch(const Gpu& gpu, const GemmProgram& program, L2Tags& tags, SmArray& array,
                    std::vector<CtaSpan>& spans) {
  return simulate_gemm_launch(program, gpu, rates_of(gpu, program), tags, array, &spans);
}

template <class P>
Played play(const Gpu& gpu, const P& program, const SmLists* lists) {
  Played played;
  L2Tags tags = whole_l2(gpu, true);
  SmArray array;
  array.lists = lists;
  played.result = launch(gpu, program, tags, array, played.spans);
  return played;
}

struct Better {
  const char* what;
  void (*improve)(Gpu&);
};
constexpr Better kBetter[] = {
    {"SRAM", [](Gpu& g) { g.smem_per_sm_bytes.value *= 2; }},
    {"L2", [](Gpu& g) { g.l2_bytes.value *= 2; }},
    {"L2 bandwidth", [](Gpu& g) { g.l2_gb_s.value *= 1.5; }},
    {"HBM bandwidth", [](Gpu& g) { g.hbm_gb_s.value *= 1.3; }},
};

template <class P>
void never_slower(const Gpu& gpu, const P& program) {
  const SmLists lists = lists_of(play(gpu, program, nullptr).spans, gpu.sms);
  const double before =
      static_cast<double>(play(gpu, program, &lists).result.time_ps) + 1000;  // rounding: 1 ps an event
  for (const Better& better : kBetter) {
    Gpu improved = gpu;
    better.improve(improved);
    const double loss = static_cast<double>(play(improved, program, &lists).result.time_ps) / before - 1;
    // The heuristics that switch: who of two CTAs asks HBM for a page first, and how far a last wave spreads
    // over idle SMs.
    RC_LOG() << better.what << ": " << 100 * loss << " % slower";
    RC_ASSERT(loss <= 0.02);
  }
}

RC_GTEST_PROP(TileMonotone, GemmOnABetterCardIsNeverSlower, ()) { never_slower(any_card(), any_gemm()); }
RC_GTEST_PROP(TileMonotone, AttentionOnABetterCardIsNeverSlower, ()) {
  const Gpu& gpu = any_card();
  never_slower(gpu, any_flash(gpu));
}
RC_GTEST_PROP(TileMonotone, StreamsOnABetterCardAreNeverSlower, ()) {
  if (*rc::gen::arbitrary<bool>())
    never_slower(any_card(), random_norm());
  else
    never_slower(any_card(), random_copy());
}

template <class P>
void same_on_other_sms(const Gpu& gpu, const P& program) {
  const SmLists lists = lists_of(play(gpu, program, nullptr).spans, gpu.sms);
  SmLists dealt = lists;
  std::vector<std::int32_t> goes_to(lists.size());
  for (std::size_t i = 0; i < lists.size(); ++i) goes_to[i] = static_cast<std::int32_t>(i);
  std::uint64_t state = *rc::gen::inRange<std::uint64_t>(1, 1'000'000);
  for (std::size_t i = lists.size(); i > 1; --i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    std::swap(goes_to[i - 1], goes_to[(state >> 33) % i]);
  }
  for (std::size_t i = 0; i < lists.size(); ++i) dealt[static_cast<std::size_t>(goes_to[i])] = lists[i];
  const Played here = play(gpu, program, &lists), there = play(gpu, program, &dealt);
  RC_ASSERT(there.result.time_ps == here.result.time_ps);
  RC_ASSERT(there.result.events == here.result.events);
  RC_ASSERT(there.result.hbm_read_bytes == here.result.hbm_read_bytes);
  RC_ASSERT(there.result.hbm_write_bytes == here.result.hbm_write_bytes);
  RC_ASSERT(there.result.loaded_bytes == here.result.loaded_bytes);
  RC_ASSERT(there.result.sm_busy_ps == here.result.sm_busy_ps);
  // Every CTA does the same at the same time, elsewhere.
  RC_ASSERT(there.spans.size() == here.spans.size());
  for (std::size_t i = 0; i < here.spans.size(); ++i) {
    const CtaSpan &a = here.spans[i], &b = there.spans[i];
    RC_ASSERT(std::tuple(a.cta, a.start_ps, a.loop_ps, a.end_ps) ==
              std::tuple(b.cta, b.start_ps, b.loop_ps, b.end_ps));
    RC_ASSERT(b.sm == goes_to[static_cast<std::size_t>(a.sm)]);
  }
}

RC_GTEST_PROP(TileMonotone, PermutingSmIdsChangesNothing, ()) {
  const Gpu& gpu = any_card();
  if (*rc::gen::arbitrary<bool>())
    same_on_other_sms(gpu, any_gemm());
  else
    same_on_other_sms(gpu, any_flash(gpu));
}

// The replay is the launch it was recorded from, where every CTA starts in the order of its number.
TEST(TileMonotone, AReplayOnTheSameCardIsTheSameLaunch) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  GemmProgram g;
  g.m = 3000, g.n = 3000, g.k = 512, g.tile = {64, 128};
  const Played base = play(gpu, g, nullptr);
  const SmLists lists = lists_of(base.spans, gpu.sms);
  const Played again = play(gpu, g, &lists);
  EXPECT_EQ(again.result.time_ps, base.result.time_ps);
  EXPECT_EQ(again.result.hbm_read_bytes, base.result.hbm_read_bytes);
  std::size_t listed = 0;
  for (const auto& list : lists) listed += list.size();
  EXPECT_EQ(listed, static_cast<std::size_t>(g.ctas()));
}

// Two SMs, CTAs of 4, 2 and 4 us. One at a time the third starts where the second ends: 6 us. Two at a time
// it is given to the SM of the first at once, as the hardware fills SMs, and shares it: 8 us.
TEST(TileMonotone, LeftFreeMoreResidencyMayLose) {
  SmArraySpec spec;
  spec.sms = 2;
  const double lengths[] = {4e6, 2e6, 4e6};
  const auto time = [&](int per_sm) {
    spec.ctas_per_sm = per_sm;
    SmArray array;
    const auto begin = [&](std::int64_t cta, double) {
      CtaRun run;
      run.alone = run.compute = lengths[cta];
      return run;
    };
    return array.run(spec, 3, begin).time_ps;
  };
  EXPECT_EQ(time(1), 6'000'000);
  EXPECT_EQ(time(2), 8'000'000);
}

RC_GTEST_PROP(TileMonotone, NoResidencyIsFasterThanTheLibrarysPick, ()) {
  const Gpu& gpu = any_card();
  const GemmProgram g = any_gemm();
  const KernelRates rates = rates_of(gpu, g);
  SmArray array;
  L2Tags tags = whole_l2(gpu, true);
  std::vector<CtaSpan> spans;
  const LaunchResult picked = simulate_gemm_launch(g, gpu, rates, tags, array, &spans);
  RC_ASSERT(picked.ctas_per_sm <= occupancy(gpu, g.resources()));
  std::vector<int> slots(static_cast<std::size_t>(gpu.sms.value));
  for (const CtaSpan& span : spans)
    slots[static_cast<std::size_t>(span.sm)] =
        std::max(slots[static_cast<std::size_t>(span.sm)], span.slot + 1);
  RC_ASSERT(*std::max_element(slots.begin(), slots.end()) <= picked.ctas_per_sm);
  for (int resident = 1; resident <= occupancy(gpu, g.resources()); ++resident) {
    L2Tags own = whole_l2(gpu, true);
    const LaunchResult other = simulate_launch(g, gpu, rates, own, array, resident);
    RC_ASSERT(picked.time_ps <= other.time_ps);
  }
}

// One SM, five CTAs whose own latency is twice their work. Three at a time fill its tensor cores throughout:
// three thirds, then two halves. Four at a time share them evenly and end together, and the fifth cannot fill
// them alone: so even replayed lists may lose when more CTAs fit, unless a library keeps to fewer, as for
// GEMM.
TEST(TileMonotone, EvenSharingMayLeaveALastCtaAlone) {
  SmArraySpec spec;
  const SmLists lists = {{0, 1, 2, 3, 4}};
  const auto time = [&](int per_sm) {
    spec.ctas_per_sm = per_sm;
    SmArray array;
    array.lists = &lists;
    const auto begin = [](std::int64_t, double) {
      CtaRun run;
      run.compute = 2e6, run.alone = 4e6;
      return run;
    };
    return array.run(spec, 5, begin).time_ps;
  };
  EXPECT_EQ(time(3), 10'000'000);
  EXPECT_EQ(time(4), 12'000'000);
}

}  // namespace
}  // namespace tessera
