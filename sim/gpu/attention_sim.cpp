// T = launch + KV write + copies + main kernel + combine.
//
// Main kernel: the CTA list, tiles and splits of the library (kernels/tiles/attention_launch.hpp) on the SMs.
// A tile costs tensor, exponential and fp32 time that add, at the rated clock, and a load of one latency plus
// its bytes at one CTA's rate, which overlap: FA2 loads half a step ahead, FA3 two stages. Prologue and
// epilogue are one time, `cta_us`, and FA3 adds `mask_us` where two warpgroups mask; Q and O move at the rate
// of K and V. Small kernels are equal CTAs in waves and then their bytes: `kv_write_us` for a token's chain
// of dependent accesses, `combine_per_split_us` for each split read in turn. Replays over F bytes of buffers
// find l2_survival(F / L2) of them, and the main kernel finds K and V that the KV write has just used. Source
// of parameters: configs/kernels, section tile. Left out: the order of pages in DRAM, clusters.
#include "sim/gpu/attention_sim.hpp"

#include <cmath>

#include "kernels/tiles/attention_fa3.hpp"
#include "kernels/tiles/attention_totals.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kUs = 1e6;                  // picoseconds
constexpr double kCopyShare = 0.6;           // a copy kernel's gap against the combine kernel's
constexpr double kUnsplitCombineUs = 0.016;  // FA3's combine kernel, per sequence with nothing to combine
// Kernels on contiguous keys, against the paged ones the parameters were fitted on. FA3 loads by TMA, several
// times the rate of gathering threads, and its persistent CTAs fetch the next rows while they finish the
// last.
constexpr double kExposedPrologue = 0.3;
constexpr double kTmaRate = 4;
// FA2 on a card fitted with FA3: mma.sync reaches about half of wgmma's rate on Hopper, and its softmax
// shares the warps with it. Both chosen on the FA2 curves of the FA3 paper
// (tests/studies/flash_curves_test.cpp).
constexpr double kMmaSync = 1.95;
constexpr double kSoftmaxSync = 1.7;
constexpr double kSyncLoadRate = 3;
constexpr double kHeatUs = 4000;  // duration at which half of the clock loss has set in

struct Demand {
  double new_tokens = 0, new_rows = 0, keys = 0;  // keys: of all sequences, inside the window
  std::int64_t most_queries = 0, most_keys = 0;
};

Demand demand_of(const AttentionProblem& p) {
  Demand d;
  for (const AttentionSequence& s : p.sequences) {
    d.new_tokens += static_cast<double>(s.queries);
    const std::int64_t seen = p.window > 0 ? std::min(s.keys, p.window - 1 + s.queries) : s.keys;
    d.keys += static_cast<double>(seen);
    d.most_queries = std::max(d.most_queries, s.queries);
    d.most_keys = std::max(d.most_keys, s.keys);
  }
  d.new_rows = d.new_tokens * p.q_heads;
  return d;
}

double fp32_lanes(const Gpu& gpu) { return gpu.architecture == "ampere" ? 64 : 128; }  // of an SM

class Machine {
 public:
  Machine(const Gpu& card, const AttentionProblem& p, const AttentionRates& r, bool is_fa3, const Demand& d)
      : gpu(card), problem(p), rates(r), fa3(is_fa3), demand(d) {
    const double sms = static_cast<double>(gpu.sms.value);
    const double clock_mhz = gpu.datasheet_bf16_tflops * 1e6 / (gpu.bf16_flops_per_clk_sm * sms);
    fp8 = fa3 && p.kv_element_bytes == 1 && gpu.fp8_flops_per_clk_sm > 0;
    const double clock = clock_mhz * gpu.kernels->sustained_clock_fraction;
    flop_ps = kUs / (clock * (fp8 ? gpu.fp8_flops_per_clk_sm : gpu.bf16_flops_per_clk_sm));
    exp_ps = kUs / (clock * gpu.exp_per_clk_sm);
    kv_bytes = d.keys * p.kv_heads * (p.head_dim + p.v_head_dim) * p.kv_element_bytes;
    io_bytes = d.new_rows * (p.head_dim + p.v_head_dim) * p.element_bytes;
    new_bytes = d.new_tokens * p.kv_heads * (p.head_dim + p.v_head_dim) * p.element_bytes;
  }

  [[nodiscard]] double hbm_rate() const { return gpu.hbm_bytes_per_us() * rates.hbm_fraction / kUs; }
  [[nodiscard]] double l2_rate() const { return rates.l2_gb_s * 1e-3; }
  [[nodiscard]] double byte_us() const { return ((1 - hit) / hbm_rate() + hit / l2_rate()) / kUs; }

  [[nodiscard]] KernelRates forward(const FlashForward& f) const {
    KernelRates r;
    // Of FA3's warpgroups of 64 rows those without a row leave early.
    const std::int64_t rows = demand.most_queries * f.group();
    const double busy =
        fa3 && rows < f.tile.m ? static_cast<double>(tiles_of(rows, 64) * 64) / f.tile.m : 1.0;
    const bool borrowed = !fa3 && gpu.kernels->tile.attention.kernel == "fa3";
    r.ps_per_flop = rates.mma_factor * flop_ps * busy * (borrowed ? kMmaSync : 1);
    r.ps_per_exp = rates.exp_factor * exp_ps * busy * (borrowed ? kSoftmaxSync : 1);
    // Softmax takes as long on the fp32 lanes, in proportion, as on the exponential units.
    r.ps_per_alu = r.ps_per_exp * gpu.exp_per_clk_sm / fp32_lanes(gpu);
    if (fp8) {
      const double per_tile = problem.head_dim > 192   ? rates.transpose_d256_us
                              : problem.head_dim > 128 ? rates.transpose_d192_us
                                                       : rates.transpose_us;
      r.step_compute_ps = per_tile * f.tile.n * problem.v_head_dim / (160.0 * 128.0) * kUs;
    }
    // A gathered load waits for the block table first.
    const double lookup = problem.page_tokens > 0 ? gpu.l2_latency_ns * 1e3 : 0;
    r.dram_latency_ps = gpu.dram_latency_ns * 1e3 + lookup;
    r.l2_latency_ps = gpu.l2_latency_ns * 1e3 + lookup;
    r.load_ps_per_byte = 1e3 / rates.cta_gb_s;
    r.prologue_ps = rates.cta_us * (0.6 + 0.4 * problem.head_dim / 128.0) * kUs;
    const bool local = problem.window > 0 && problem.window < demand.most_keys;
    const bool prefill = demand.most_queries > 1;
    const bool dense = problem.page_tokens == 0;
    if (borrowed) r.load_ps_per_byte /= kSyncLoadRate;
    if (fa3 && dense) {
      r.prologue_ps *= kExposedPrologue;
      r.load_ps_per_byte /= kTmaRate;
      r.keeps_keys = true;
    } else if (fa3) {
      r.exposed_prologue = kExposedPrologue;
      if (local || (prefill && f.tile.m > 64))
        r.epilogue_ps = rates.mask_us * f.tile.m * f.tile.n / 16384.0 * kUs;
    }
    r.edge_ps_per_byte = r.load_ps_per_byte;
    r.idle_ps = 2 * gpu.l2_latency_ns * 1e3;
    r.hbm_bytes_per_ps = hbm_rate();
    r.l2_bytes_per_ps = l2_rate();
    r.l2_exponent = 8;
    r.hbm_exponent = prefill ? 4 : 3;
    return r;
  }

  const Gpu& gpu;
  const AttentionProblem& problem;
  const AttentionRates& rates;
  bool fa3, fp8;
  Demand demand;
  double flop_ps, exp_ps;
  double kv_bytes, io_bytes, new_bytes;
  double hit = 0;  // of a replay
};

// Equal CTAs of `cta_us` each; short ones drift apart, so that the last wave costs its share.
double waves_us(const Gpu& gpu, const CtaResources& resources, double ctas, double cta_us) {
  const double slots = static_cast<double>(gpu.sms.value) * occupancy(gpu, resources);
  return std::max(1.0, ctas / slots) * cta_us;
}

double partial_bytes(const FlashLaunch& launch) {
  if (launch.forward.most_splits <= 1) return 0;
  double splits = 0;  // row-weighted
  const AttentionProblem& p = launch.forward.problem;
  for (std::size_t i = 0; i < p.sequences.size(); ++i) {
    const std::int32_t s = launch.forward.splits_of(static_cast<std::int64_t>(i));
    if (s > 1) splits += s * static_cast<double>(p.sequences[i].queries);
  }
  return splits * p.q_heads * (p.v_head_dim + 1) * 4.0;
}

// Bytes of a small kernel of which the share `hit` stays in L2.
template <class P>
LaunchResult moved_by(const P& program, double hit, const AttentionSimOptions& options) {
  LaunchResult r;
  if (!options.count_small_kernels) return r;
  const Traffic traffic = totals_of(program);
  r.ctas = program.ctas();
  r.loaded_bytes = traffic.read_bytes(), r.stored_bytes = traffic.written_bytes();
  r.hbm_read_bytes = std::llround(static_cast<double>(r.loaded_bytes) * (1 - hit));
  r.hbm_write_bytes = std::llround(static_cast<double>(r.stored_bytes) * (1 - hit));
  return r;
}

}  // namespace

AttentionSimulation simulate_attention(const Gpu& gpu, const AttentionProblem& problem,
                                       const AttentionSimOptions& options) {
  const AttentionParams& params = gpu.kernels->tile.attention;
  const bool fa3 = (options.kernel.empty() ? params.kernel : options.kernel) == "fa3";
  const AttentionRates& rates = problem.kv_element_bytes == 1 && params.fp8 ? *params.fp8 : params.rates;
  const Demand demand = demand_of(problem);
  AttentionSimulation sim;
  const FlashCard card = FlashCard::of(gpu);
  sim.program = fa3 ? fa3::launch(problem, card) : fa2::launch(problem, card);
  const FlashLaunch& launch = sim.program;
  Machine m(gpu, problem, rates, fa3, demand);

  // With its keys marked evict-last, FA3's dense kernel has the whole L2 for them.
  const double share_of_l2 = fa3 && problem.page_tokens == 0 ? 1 : rates.l2_share;
  const double capacity =
      options.l2 == L2Mode::off ? 0 : share_of_l2 * static_cast<double>(gpu.l2_bytes.value);
  thread_local L2Tags tags;
  tags.open({capacity, gpu.l2_partitions == 2});
  const double partials = partial_bytes(launch);
  double copies = 0;
  for (const auto* list : {&launch.copies_before, &launch.copies_after})
    for (const RowCopy& c : *list) copies += static_cast<double>(c.rows * c.cols) * c.element_bytes;
  if (options.l2 == L2Mode::warm) {
    const bool shared_keys = demand.most_queries > 1 || (!launch.forward.packed && problem.group() > 1);
    double footprint = m.kv_bytes * (shared_keys ? tags.shared() : 1) + m.io_bytes + copies + partials;
    if (demand.most_queries > 1 && launch.kv_write) footprint += m.new_bytes;
    m.hit = tags.replay_hit(footprint);
    for (int t = 0; t < static_cast<int>(Tensor::count); ++t) tags.set_warm(static_cast<Tensor>(t), m.hit);
  }
  if (launch.kv_write && options.l2 != L2Mode::off) {
    // The kernel before has just read and written this step's keys.
    const double share = std::min(1.0, demand.new_tokens / std::max(1.0, demand.keys));
    const double written = m.new_bytes * (1 + problem.kv_element_bytes / problem.element_bytes);
    const double warm = share * tags.replay_hit(written) + (1 - share) * m.hit;
    tags.set_warm(Tensor::k, std::max(m.hit, warm)), tags.set_warm(Tensor::v, std::max(m.hit, warm));
  }

  OpTime& time = sim.time;
  // Without a KV write there is one launch less.
  time.launch = rates.launch_us - (launch.kv_write ? 0 : gpu.graph_launch_us.value) +
                (fa3 && launch.kv_write && demand.most_queries > 1 ? rates.prefill_launch_us : 0);
  if (launch.kv_write) {
    const double moved = demand.new_tokens * problem.kv_heads * (problem.head_dim + problem.v_head_dim) *
                         (problem.element_bytes + problem.kv_element_bytes);
    const double us = waves_us(gpu, launch.kv_write->resources(), demand.new_tokens, rates.kv_write_us) +
                      moved * m.byte_us();
    sim.parts.push_back({"kv_write", us, moved_by(*launch.kv_write, m.hit, options)});
    time.launch += us;
  }
  for (const auto* list : {&launch.copies_before, &launch.copies_after})
    for (const RowCopy& c : *list) {
      const double bytes = 2.0 * static_cast<double>(c.rows * c.cols) * c.element_bytes;
      const double us = kCopyShare * rates.combine_us + bytes * m.byte_us();
      sim.parts.push_back({"copy", us, moved_by(c, m.hit, options)});
      time.launch += us;
    }

  KernelRates forward = m.forward(launch.forward);
  forward.hbm_bytes_per_ps /= options.paging;
  thread_local SmArray array;
  array.spans = options.spans;
  const LaunchResult main = simulate_launch(launch.forward, gpu, forward, tags, array);
  array.spans = nullptr;
  const double lone_us = static_cast<double>(main.time_ps) / kUs;
  const double main_us = lone_us * (1 + rates.heat * lone_us / (lone_us + kHeatUs));
  sim.parts.push_back({"attention", main_us, main});

  double combine_us = 0;
  if (launch.combine) {
    const FlashCombine& c = *launch.combine;
    double most = 1;
    for (std::size_t i = 0; i < problem.sequences.size(); ++i)
      most = std::max(most, static_cast<double>(launch.forward.splits_of(static_cast<std::int64_t>(i))));
    if (most > 1) {
      combine_us = rates.combine_us + 2 * partials / m.l2_rate() / kUs;
      combine_us += waves_us(gpu, c.resources(), std::ceil(demand.new_rows / c.rows_per_cta),
                             rates.combine_per_split_us * (most + 2));
    } else {
      combine_us = kUnsplitCombineUs * static_cast<double>(problem.sequences.size());
    }
    // Partials are read back at once, so they are in L2 if there is one.
    sim.parts.push_back({"combine", combine_us, moved_by(c, options.l2 == L2Mode::off ? 0 : 1, options)});
  }
  time.launch += combine_us;
  time.total = time.launch + main_us;
  time.compute = (static_cast<double>(main.executed_flops) * forward.ps_per_flop +
                  static_cast<double>(main.exponentials) * forward.ps_per_exp) /
                 static_cast<double>(gpu.sms.value) / kUs;
  time.hbm = static_cast<double>(main.hbm_read_bytes + main.hbm_write_bytes) / forward.hbm_bytes_per_ps / kUs;
  time.l2 = static_cast<double>(main.loaded_bytes + main.stored_bytes) / forward.l2_bytes_per_ps / kUs;

  const double peak = gpu.peak_flops(m.fp8 ? DType::fp8 : DType::bf16);
  const double kept = options.l2 == L2Mode::warm ? static_cast<double>(gpu.l2_bytes.value) : 0;
  const double floor_us = physics_floor_us(
      problem.useful_flops(), peak, std::max(0.0, m.kv_bytes + m.io_bytes - kept), gpu.hbm_bytes_per_us());
  time.total = std::max(time.total, floor_us);
  const bool wide = problem.kv_element_bytes == 2;
  time.in_range = (wide || (problem.kv_element_bytes == 1 && params.fp8.has_value())) &&
                  problem.head_dim >= 64 && problem.head_dim <= 256;
  return sim;
}

}  // namespace tessera
