// Laws that every closed form keeps, on every card described: units, choices, ranges, and queues.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/attention_queue.hpp"
#include "kernels/cost/collective.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/layer_profile.hpp"
#include "kernels/cost/measured_rows.hpp"
#include "kernels/cost/moe.hpp"
#include "models/hardware/gpu.hpp"
#include "tests/support/shipped_gpus.hpp"

namespace tessera {
namespace {

using test::any_gpu;

// --- units ---------------------------------------------------------------------------------------------

template <class... Figures>
void scale(double by, Figures&... figures) {
  ((figures *= by), ...);
}
void scale_rates(AttentionRates& r) {
  scale(0.5, r.launch_us, r.prefill_launch_us, r.combine_us, r.combine_per_split_us, r.cta_us, r.mask_us,
        r.kv_write_us, r.transpose_us, r.transpose_d192_us, r.transpose_d256_us);
  scale(2, r.cta_gb_s, r.l2_gb_s);
}

// The card on which every second is half as long: rates doubled, times halved. Bytes, fractions and counts
// stay.
Gpu twice_as_fast(Gpu g) {
  scale(2, g.max_clock_mhz.value, g.datasheet_bf16_tflops.value, g.hbm_gb_s.value, g.l2_gb_s.value,
        g.nvlink_gb_s.value, g.pcie_gb_s.value);
  scale(0.5, g.dram_latency_ns.value, g.l2_latency_ns.value, g.graph_launch_us.value,
        g.stream_launch_us.value);
  GemmParams& p = g.kernels->gemm;
  scale(0.5, p.floor_us, p.serial_ns_per_k, p.gemv_serial_ns_per_k, p.split_us, p.epilogue_us,
        p.fp8.quantise_us, p.fp8.quantise_row_ns, p.fp8.serial_ns_per_k);
  scale(2, p.l2_feed_gb_s, p.fp8.quantise_gb_s);
  MoeRates& m = g.kernels->moe;
  scale(0.5, m.floor_us, m.permute_us, m.per_100_experts_us, m.serial_ns_per_k);
  scale(2, m.l2_feed_gb_s);
  CustomAllReduceParams& c = g.kernels->collectives.custom;
  scale(0.5, c.base_us, c.rank_us, c.two_shot_us, c.eager_host_us);
  scale(2, c.one_shot_gb_s, c.two_shot_gb_s);
  NcclParams& n = g.kernels->collectives.nccl;
  scale(0.5, n.base_us, n.step_us, n.all_to_all_us, n.ll128_us, n.all_to_all_ll128_us, n.simple_us,
        n.switch_us);
  scale(2, n.ll_gb_s, n.ll128_gb_s, n.all_to_all_ll128_gb_s, n.simple_gb_s, n.switch_gb_s);
  scale_rates(g.kernels->attention.rates);
  return g;
}

// Powers of two are exact; cube roots and the queue's iteration round.
void expect_half(double fast, double slow) { RC_ASSERT(std::abs(2 * fast / slow - 1) <= 1e-9); }

RC_GTEST_PROP(UnitsProperty, OnACardTwiceAsFastAGemmTakesHalf, ()) {
  const Gpu gpu = any_gpu();
  const GemmShape s{*rc::gen::inRange<std::int64_t>(1, 5'000), *rc::gen::inRange<std::int64_t>(1, 20'000),
                    *rc::gen::inRange<std::int64_t>(1, 20'000), *rc::gen::element(DType::bf16, DType::fp8),
                    *rc::gen::element(0, 1, 6)};
  expect_half(gemm_time(twice_as_fast(gpu), s).total, gemm_time(gpu, s).total);
  expect_half(gemm_floor_us(twice_as_fast(gpu), s), gemm_floor_us(gpu, s));
}

RC_GTEST_PROP(UnitsProperty, OnACardTwiceAsFastExpertsTakeHalf, ()) {
  const Gpu gpu = any_gpu();
  MoeShape s;
  s.tokens = *rc::gen::inRange<std::int64_t>(1, 5'000);
  s.hidden = *rc::gen::element<std::int64_t>(2'048, 4'096, 7'168);
  s.expert_width = *rc::gen::element<std::int64_t>(768, 1'536, 14'336);
  s.experts = *rc::gen::element(8, 64, 128);
  s.top_k = *rc::gen::element(1, 2, 8);
  s.ep = *rc::gen::element(1, 4, 8);
  s.power_law = *rc::gen::element(0.0, 1.2);
  expect_half(moe_time(twice_as_fast(gpu), s).total, moe_time(gpu, s).total);
}

RC_GTEST_PROP(UnitsProperty, OverLinksTwiceAsFastACollectiveTakesHalf, ()) {
  const Gpu gpu = any_gpu();
  const Gpu fast = twice_as_fast(gpu);
  const auto op = *rc::gen::element(Collective::all_reduce, Collective::all_gather,
                                    Collective::reduce_scatter, Collective::all_to_all);
  const int ranks = *rc::gen::element(2, 4, 8);
  const double bytes = *rc::gen::inRange(1, 1 << 30);
  expect_half(nccl_time(fast, op, ranks, bytes).total, nccl_time(gpu, op, ranks, bytes).total);
  const bool graph = *rc::gen::arbitrary<bool>();
  expect_half(all_reduce_time(fast, ranks, bytes, graph).total,
              all_reduce_time(gpu, ranks, bytes, graph).total);
}

RC_GTEST_PROP(UnitsProperty, OnACardTwiceAsFastAttentionTakesHalf, ()) {
  Gpu gpu = any_gpu();
  gpu.kernels->attention.kernel = "fa2";
  gpu.kernels->attention.rates.heat = 0;  // kernels of many milliseconds: a time of its own
  const Gpu fast = twice_as_fast(gpu);
  AttentionShape s;
  s.kv_heads = *rc::gen::element(1, 2, 8);
  s.q_heads = s.kv_heads * *rc::gen::element(1, 4, 8);
  s.head_dim = s.v_head_dim = *rc::gen::element(64, 128, 256);
  s.window = *rc::gen::element<std::int64_t>(0, 512);
  s.replayed = *rc::gen::arbitrary<bool>();
  const auto sequences = *rc::gen::inRange<std::int64_t>(1, 200);
  const DecodeBatch decodes{sequences, sequences * *rc::gen::inRange<std::int64_t>(1, 20'000), {}, 0};
  const std::vector<PrefillChunk> chunks = {
      {*rc::gen::inRange<std::int64_t>(1, 4'000), *rc::gen::element<std::int64_t>(0, 100, 5'000)}};
  expect_half(decode_attention_time(fast, s, decodes).total, decode_attention_time(gpu, s, decodes).total);
  expect_half(prefill_attention_time(fast, s, chunks).total, prefill_attention_time(gpu, s, chunks).total);
  expect_half(mixed_attention_time(fast, s, decodes, chunks).total,
              mixed_attention_time(gpu, s, decodes, chunks).total);
}

// --- choices ------------------------------------------------------------------------------------------

RC_GTEST_PROP(GemmChoicesProperty, AreDifferentPossibleAndBeginWithTheBest, ()) {
  const Gpu gpu = any_gpu();
  const GemmShape s{*rc::gen::inRange<std::int64_t>(1, 5'000), *rc::gen::inRange<std::int64_t>(1, 20'000),
                    *rc::gen::inRange<std::int64_t>(1, 20'000)};
  std::array<GemmChoice, kMostGemmChoices> many;
  std::array<GemmChoice, 1> one;
  const std::size_t found = gemm_choices(gpu, gpu.kernels->gemm, s, many);
  RC_ASSERT(found >= 1U);
  RC_ASSERT(gemm_choices(gpu, gpu.kernels->gemm, s, one) == 1U);
  const auto same = [](const GemmChoice& a, const GemmChoice& b) {
    return a.tile.bm == b.tile.bm && a.tile.bn == b.tile.bn && a.splits == b.splits;
  };
  RC_ASSERT(same(one[0], many[0]));
  for (std::size_t i = 0; i < found; ++i) {
    RC_ASSERT(tile_suits(many[i].tile, s.m, s.n) && split_suits(many[i].splits, s.k));
    for (std::size_t j = 0; j < i; ++j) RC_ASSERT(!same(many[i], many[j]));
  }
}

// --- collectives ---------------------------------------------------------------------------------------

RC_GTEST_PROP(CollectiveProperty, ARingAllReduceMovesWhatItsTwoHalvesDo, ()) {
  const Gpu gpu = any_gpu();
  const int ranks = *rc::gen::inRange(2, 9);
  const double bytes = *rc::gen::inRange(1, 1 << 30);
  const auto floor = [&](Collective op) { return collective_floor_us(gpu, op, ranks, bytes, DType::int8); };
  const double halves = floor(Collective::reduce_scatter) + floor(Collective::all_gather);
  RC_ASSERT(std::abs(floor(Collective::all_reduce) - halves) <= 1e-12 * halves);
  RC_ASSERT(floor(Collective::all_to_all) == floor(Collective::all_gather));
}

// --- queues --------------------------------------------------------------------------------------------

struct AnyQueue {
  std::vector<CtaLength> lengths;
  double copies, slots, memory_us;
  [[nodiscard]] CtaQueue view() const { return {lengths, copies, false}; }
};
AnyQueue any_queue() {
  AnyQueue q;
  q.lengths.resize(*rc::gen::inRange<std::size_t>(1, 12));
  for (CtaLength& c : q.lengths)
    c = {*rc::gen::inRange(1, 1'000) / 8.0, static_cast<double>(*rc::gen::inRange(1, 4))};
  std::sort(q.lengths.begin(), q.lengths.end(), [](auto& a, auto& b) { return a.length > b.length; });
  q.copies = *rc::gen::inRange(1, 12), q.slots = *rc::gen::inRange(1, 200);
  q.memory_us = *rc::gen::inRange(0, 400);
  return q;
}

RC_GTEST_PROP(QueueProperty, TimesTwiceAsLongTakeTwiceAsLong, ()) {
  const AnyQueue q = any_queue();
  AnyQueue longer = q;
  for (CtaLength& c : longer.lengths) c.length *= 2;
  const QueueTime a = queue_time(q.view(), q.slots, q.memory_us, 0);
  const QueueTime b = queue_time(longer.view(), q.slots, 2 * q.memory_us, 0);
  expect_half(a.total, b.total);
  expect_half(a.schedule, b.schedule);
}

RC_GTEST_PROP(QueueProperty, WithASlotEachTheScheduleIsTheLongest, ()) {
  AnyQueue q = any_queue();
  double ctas = 0;
  for (const CtaLength& c : q.lengths) ctas += c.count * q.copies;
  q.slots = ctas + *rc::gen::inRange(0, 50);
  RC_ASSERT(std::abs(queue_schedule(q.view(), q.slots) - q.lengths.front().length) <=
            1e-9 * q.lengths.front().length);
}

// Graham (1969): no order of a list keeps slots longer than the work of each and the longest after it.
// Newton's iteration ends within a thousandth.
RC_GTEST_PROP(QueueProperty, TheScheduleKeepsGrahamsBound, ()) {
  AnyQueue q = any_queue();
  q.slots += 15;  // a card has more
  double work = 0;
  for (const CtaLength& c : q.lengths) work += c.count * q.copies * c.length;
  const double top = q.lengths.front().length, schedule = queue_schedule(q.view(), q.slots);
  RC_ASSERT(schedule >= top * (1 - 1e-9));
  RC_ASSERT(schedule <= (work / q.slots + top) * (1 + 1e-3));
}

RC_GTEST_PROP(QueueProperty, MemoryOnlyAddsAndNeverMoreThanAllOfIt, ()) {
  const AnyQueue q = any_queue();
  const QueueTime t = queue_time(q.view(), q.slots, q.memory_us, 0);
  const QueueTime alone = queue_time(q.view(), q.slots, 0, 0);
  RC_ASSERT(t.total >= alone.total * (1 - 1e-9));
  RC_ASSERT(t.total <= (alone.total + q.memory_us) * (1 + 1e-3));
}

// --- measured ranges and rows ----------------------------------------------------------------------------

RC_GTEST_PROP(MeasuredRangeProperty, EqualsLookingAtEveryRow, ()) {
  const auto corner = [] {
    return MeasuredRange::Corner{*rc::gen::inRange(0, 6), *rc::gen::inRange(0, 6), *rc::gen::inRange(0, 6)};
  };
  const auto count = *rc::gen::inRange(0, 12);
  MeasuredRange range;
  std::vector<MeasuredRange::Corner> all;
  for (int i = 0; i < count; ++i) range.add(all.emplace_back(corner()));
  const auto at_least = [](const MeasuredRange::Corner& a, const MeasuredRange::Corner& b) {
    return a[0] >= b[0] && a[1] >= b[1] && a[2] >= b[2];
  };
  for (int i = 0; i < 10; ++i) {
    const auto at = corner();
    const bool below =
        std::any_of(all.begin(), all.end(), [&](const auto& row) { return at_least(row, at); });
    const bool above =
        std::any_of(all.begin(), all.end(), [&](const auto& row) { return at_least(at, row); });
    RC_ASSERT(range.contains(at) == (below && above));
  }
}

RC_GTEST_PROP(MeasuredRowsProperty, AMeasuredPointIsItsMeanInsideAndOut, ()) {
  MeasuredRows rows;
  std::map<int, std::vector<double>> all;
  const auto count = *rc::gen::inRange(1, 60);
  for (int i = 0; i < count; ++i) {
    const int x = *rc::gen::inRange(0, 20);
    const double u = *rc::gen::inRange(-40, 0) / 8.0;
    all[x].push_back(u);
    rows.add({static_cast<double>(x), static_cast<double>(x * x), 0, 0}, u);
  }
  rows.finish();
  for (const auto& [x, us] : all) {
    double mean = 0;
    for (const double u : us) mean += u / static_cast<double>(us.size());
    for (const bool inside : {true, false})
      // Eighths summed in another order.
      RC_ASSERT(
          std::abs(rows.log_utilisation({static_cast<double>(x), static_cast<double>(x * x), 0, 0}, inside) -
                   mean) <= 1e-12);
  }
}

RC_GTEST_PROP(CurveProperty, RisesWhereItsPointsDoAndNeverReachesNothing, ()) {
  Curve curve;
  double x = 0, y = 1;
  const auto count = *rc::gen::inRange(2, 10);
  for (int i = 0; i < count; ++i) {
    x += *rc::gen::inRange(1, 100), y += *rc::gen::inRange(0, 100);
    curve.add(x, y);
  }
  double before = 0;
  for (double at = -100; at < x + 100; at += 7) {
    bool in_range = true;
    const double value = curve.at(at, in_range);
    RC_ASSERT(value > 0);
    RC_ASSERT(value >= before - 1e-9);  // a rounding where segments meet
    before = value;
  }
}

}  // namespace
}  // namespace tessera
