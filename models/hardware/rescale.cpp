// What carries over and how was found by predicting one card's tables from another's fit: inside an
// architecture datasheet numbers suffice (H100 to H200 5 / 14 % median / p90 on GEMMs), across architectures
// these rules about halve the error but leave 15-30 %: such cards are marked "estimated".
//
// The tensor rate needs care. A card whose tensor cores are slower per SM than the source's is bound by them,
// not by what held the source back (operand feed, power): its fraction rises as the ratio of the rates, at
// most to 1. An RTX 4090 (512 FLOP/clk/SM) reaches all of its peak where an L40S (1,024) reaches 0.7.
#include "models/hardware/rescale.hpp"

#include <algorithm>

namespace tessera {
namespace {

constexpr double kMostOfMemory = 0.98;    // no card streams more of its pin bandwidth
constexpr double kGemmL2ShareOne = 0.85;  // one partition, as fitted on L40S and RTX PRO 6000
constexpr double kGemmL2ShareTwo = 0.45;  // two partitions keep copies of shared lines: A100, H100, H200
constexpr double kAttentionL2ShareOne = 1.2;
constexpr double kAttentionL2ShareTwo = 0.75;

double rated_clock(const Gpu& g) {  // behind the datasheet's TFLOP/s
  return g.datasheet_bf16_tflops / (static_cast<double>(g.sms) * g.bf16_flops_per_clk_sm);
}
double link(const Gpu& g) { return g.nvlink_gb_s > 0 ? g.nvlink_gb_s : g.pcie_gb_s; }

struct Ratios {
  double gap, clock, rated, l2, dram_ns, memory, tensor, link;
  bool same_l2;
};

Ratios ratios_of(const Gpu& from, const Gpu& to) {
  return {.gap = to.graph_launch_us / from.graph_launch_us,
          .clock = to.max_clock_mhz / from.max_clock_mhz,
          .rated = rated_clock(to) / rated_clock(from),
          .l2 = to.l2_gb_s / from.l2_gb_s,
          .dram_ns = to.dram_latency_ns / from.dram_latency_ns,
          .memory = to.hbm_achieved_fraction / from.hbm_achieved_fraction,
          .tensor = std::max(1.0, from.bf16_flops_per_clk_sm / to.bf16_flops_per_clk_sm),
          .link = link(to) / link(from),
          .same_l2 = from.l2_partitions == to.l2_partitions};
}

double memory_fraction(double fraction, const Ratios& r) {
  return std::min(kMostOfMemory, fraction * r.memory);
}
double compute_fraction(double fraction, const Ratios& r) { return std::min(1.0, fraction * r.tensor); }

void carry(GemmParams& p, const Ratios& r, const Gpu& to) {
  p.floor_us *= r.gap;
  p.split_us *= r.gap;
  p.serial_ns_per_k /= r.clock;
  p.gemv_serial_ns_per_k /= r.clock;
  p.epilogue_us /= r.clock;
  p.l2_feed_gb_s *= r.l2;
  p.compute_fraction = compute_fraction(p.compute_fraction, r);
  p.hbm_fraction = memory_fraction(p.hbm_fraction, r);
  if (!r.same_l2) p.l2_share = to.l2_partitions == 1 ? kGemmL2ShareOne : kGemmL2ShareTwo;
  p.fp8.quantise_us *= r.gap;
  p.fp8.quantise_gb_s *= r.l2;
  p.fp8.serial_ns_per_k /= r.clock;
  p.fp8.compute_fraction = compute_fraction(p.fp8.compute_fraction, r);
}

void carry(AttentionRates& a, const Ratios& r, const Gpu& to) {
  a.launch_us *= r.gap;
  a.prefill_launch_us *= r.gap;
  a.combine_us *= r.gap;
  a.kv_write_us *= r.dram_ns;
  a.combine_per_split_us *= r.dram_ns;
  a.cta_us *= r.dram_ns;
  a.mask_us /= r.rated;
  a.cta_gb_s *= r.rated;
  a.l2_gb_s *= r.l2;
  a.hbm_fraction = memory_fraction(a.hbm_fraction, r);
  if (!r.same_l2) a.l2_share = to.l2_partitions == 1 ? kAttentionL2ShareOne : kAttentionL2ShareTwo;
}

void carry(MoeRates& p, const Ratios& r) {
  p.floor_us *= r.gap;
  p.permute_us *= r.gap;
  p.per_100_experts_us *= r.gap;
  p.serial_ns_per_k /= r.clock;
  p.l2_feed_gb_s *= r.l2;
  p.compute_fraction = compute_fraction(p.compute_fraction, r);
  p.hbm_fraction = memory_fraction(p.hbm_fraction, r);
}

void carry(CollectiveParams& p, const Ratios& r) {
  for (double* rate : {&p.custom.one_shot_gb_s, &p.custom.two_shot_gb_s, &p.nccl.ll_gb_s, &p.nccl.ll128_gb_s,
                       &p.nccl.all_to_all_ll128_gb_s, &p.nccl.simple_gb_s, &p.nccl.switch_gb_s})
    *rate *= r.link;
}

}  // namespace

KernelBehaviour rescaled(const KernelBehaviour& behaviour, const Gpu& from, const Gpu& to) {
  KernelBehaviour b = behaviour;
  const Ratios r = ratios_of(from, to);
  carry(b.gemm, r, to);
  carry(b.attention.rates, r, to);
  if (b.attention.fp8) carry(*b.attention.fp8, r, to);
  carry(b.tile.gemm, r, to);
  carry(b.tile.attention.rates, r, to);
  if (b.tile.attention.fp8) carry(*b.tile.attention.fp8, r, to);
  carry(b.moe, r);
  if (b.moe.mxfp4) carry(*b.moe.mxfp4, r);
  carry(b.collectives, r);
  if (to.nvlink_gb_s == 0) b.collectives.nccl.switch_gb_s = 0;
  // Clocks under sustained load depend on the board's power limit and cooler.
  b.sustained_clock_fraction = 1;
  b.sustained_source = "not known for this card";
  for (std::string* source : {&b.gemm.source, &b.attention.source, &b.tile.gemm.source,
                              &b.tile.attention.source, &b.moe.source, &b.collectives.source})
    *source = "estimated for " + to.name + " from " + from.name + ": " + *source;
  return b;
}

}  // namespace tessera
