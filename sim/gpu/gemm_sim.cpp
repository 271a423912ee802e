// The library's ranking (kernels/cost/gemm.cpp, with the tile grain's parameters) proposes a few tiles and
// splits; each is simulated and the fastest counts, as a library tuned on the card would pick. So it does of
// the CTAs an SM holds: asking for more shared memory keeps it to fewer, which helps where the last of them
// would be left alone.
//
// CTA: floor of the serial k loop, tensor rate shared by the CTAs of an SM, epilogue per output tile; operand
// feed through the shared L2 bandwidth; panels of A and B through the tags. Split k ends with the fix-up
// pass. Replays: activations are used again after one launch, weights after all C copies; C = infinity
// (serving) leaves no weights.
// Source of parameters: configs/kernels, section tile. Left out: multicast, stream-K (but for
// wave_quantisation).
#include "sim/gpu/gemm_sim.hpp"

#include "kernels/tiles/gemm_program.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr std::size_t kSimulated = 3;  // candidates; a fourth changes less than 0.1 % of rows
constexpr double kStoreWeight = 3;     // as in the closed form: a third of the L2 rate
constexpr double kFixUpShare = 0.8;    // likewise, of split-K partial sums through L2
constexpr double kUs = 1e6;            // picoseconds

bool multiplies_fp8(const Gpu& gpu, DType type) { return type == DType::fp8 && gpu.fp8_flops_per_clk_sm > 0; }

KernelRates rates_of(const Gpu& gpu, const GemmParams& p, const GemmShape& s, GemmTile tile) {
  const bool fp8 = multiplies_fp8(gpu, s.dtype);
  KernelRates r;
  const double fraction = fp8 ? p.fp8.compute_fraction : p.compute_fraction;
  const double sm_flops = gpu.peak_flops(s.dtype) * fraction * gpu.kernels->sustained_clock_fraction /
                          static_cast<double>(gpu.sms.value);
  r.ps_per_flop = 1e12 / sm_flops;
  const double serial = fp8 ? p.fp8.serial_ns_per_k : s.m == 1 ? p.gemv_serial_ns_per_k : p.serial_ns_per_k;
  r.step_floor_ps = serial * kGemmKStep * 1e3;
  r.epilogue_ps = p.epilogue_us * tile.bm * tile.bn / 16384 * kUs;
  r.hbm_bytes_per_ps = gpu.hbm_bytes_per_us() * p.hbm_fraction / kUs;
  r.l2_bytes_per_ps = p.l2_feed_gb_s * 1e-3;
  r.store_weight = kStoreWeight;
  r.wave_quantisation = p.wave_quantisation;
  return r;
}

// What the replayed buffers leave in L2 for the next launch.
void warm(L2Tags& tags, const GemmShape& s, const GemmProgram& program, const GemmParams& p,
          double capacity) {
  const double es = bytes_of(s.dtype);
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n), k = static_cast<double>(s.k);
  const double w = n * k * es * (program.tile_rows() > 1 ? tags.shared() : 1);
  const double io = m * k * es * (program.tile_cols() > 1 ? tags.shared() : 1) + m * n * 2;
  const double once = tags.replay_hit(w + io);
  const double cycle = s.weight_copies * w + io;
  // Of a cycle longer than L2 a replacement that resists thrashing keeps a part; LRU would keep nothing.
  const double again = s.weight_copies == 0 ? 0
                                            : std::max(tags.replay_hit(cycle),
                                                       p.l2_retained * std::min(1.0, capacity / cycle));
  tags.set_warm(Tensor::a, once);
  tags.set_warm(Tensor::c, once);
  tags.set_warm(Tensor::c_partial, once);
  tags.set_warm(Tensor::b, again);
}

}  // namespace

LaunchResult simulate_gemm_launch(const GemmProgram& program, const Gpu& gpu, const KernelRates& rates,
                                  L2Tags& tags, SmArray& array, std::vector<CtaSpan>* spans) {
  const auto launch = [&](int most, std::vector<CtaSpan>* recorded) {
    tags.forget();
    array.spans = recorded;
    return simulate_launch(program, gpu, rates, tags, array, most);
  };
  LaunchResult best = launch(kMostCtasPerSm, nullptr);
  std::int64_t most = ceil_div(program.ctas(), gpu.sms.value);  // CTAs of the SM that has most, at least
  if (array.lists != nullptr)
    for (const auto& list : *array.lists) most = std::max(most, static_cast<std::int64_t>(list.size()));
  // The least a CTA takes, and so a round of them on an SM; the last round may spread over idle SMs.
  const std::int64_t least_k = program.k - (program.splits - 1) * k_per_split(program.k, program.splits);
  const double step_ps =
      std::max(rates.step_floor_ps, 2.0 * program.tile.bm * program.tile.bn * kGemmKStep * rates.ps_per_flop);
  const double least_ps =
      static_cast<double>(ceil_div(std::max<std::int64_t>(0, least_k), kGemmKStep)) * step_ps +
      rates.epilogue_ps;
  // Where an SM never holds more, nothing changes.
  for (auto fewer = static_cast<int>(std::min<std::int64_t>(best.ctas_per_sm, most)) - 1; fewer >= 1;
       --fewer) {
    const double rounds_ps = static_cast<double>(ceil_div(most, fewer) - 1) * least_ps;
    if (rounds_ps >= static_cast<double>(best.time_ps)) break;
    if (const LaunchResult other = launch(fewer, nullptr); other.time_ps < best.time_ps) best = other;
  }
  if (spans != nullptr) best = launch(best.ctas_per_sm, spans);
  array.spans = nullptr;
  return best;
}

GemmSimulation simulate_gemm_as(const Gpu& gpu, const GemmShape& s, GemmChoice choice, L2Mode mode,
                                std::vector<CtaSpan>* spans) {
  const GemmParams& p = gpu.kernels->tile.gemm;
  const double capacity = mode == L2Mode::off ? 0 : p.l2_share * static_cast<double>(gpu.l2_bytes.value);
  thread_local L2Tags tags;
  tags.open({capacity, gpu.l2_partitions == 2});
  GemmProgram program;
  program.m = s.m, program.n = s.n, program.k = s.k;
  program.tile = choice.tile, program.splits = choice.splits;
  program.element_bytes = bytes_of(s.dtype);
  if (mode == L2Mode::warm) warm(tags, s, program, p, capacity);
  const KernelRates rates = rates_of(gpu, p, s, choice.tile);
  thread_local SmArray array;
  GemmSimulation sim;
  sim.choice = choice;
  sim.launch = simulate_gemm_launch(program, gpu, rates, tags, array, spans);
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n);
  double fixed = p.floor_us + gemm_quantise_us(gpu, p, s);
  if (choice.splits > 1)
    fixed += p.split_us + kFixUpShare * 8 * m * n * choice.splits / (p.l2_feed_gb_s * 1e3);
  OpTime& time = sim.time;
  time.total = fixed + static_cast<double>(sim.launch.time_ps) / kUs;
  time.compute = static_cast<double>(sim.launch.executed_flops) * rates.ps_per_flop /
                 static_cast<double>(gpu.sms.value) / kUs;
  time.hbm = static_cast<double>(sim.launch.hbm_read_bytes + sim.launch.hbm_write_bytes) /
             rates.hbm_bytes_per_ps / kUs;
  time.l2 = static_cast<double>(sim.launch.loaded_bytes) / rates.l2_bytes_per_ps / kUs;
  time.launch = fixed;
  time.in_range = s.m <= p.max_m && s.n <= p.max_n && s.k <= p.max_k;
  return sim;
}

GemmSimulation simulate_gemm(const Gpu& gpu, const GemmShape& s, L2Mode mode, std::vector<CtaSpan>* spans) {
  std::array<GemmChoice, kSimulated> choices;
  const std::size_t found = gemm_choices(gpu, gpu.kernels->tile.gemm, s, choices);
  TESSERA_CHECK(found > 0, "some tile suits every GEMM");
  GemmSimulation best = simulate_gemm_as(gpu, s, choices[0], mode);
  for (std::size_t i = 1; i < found; ++i) {
    GemmSimulation other = simulate_gemm_as(gpu, s, choices[i], mode);
    if (other.time.total < best.time.total) best = other;
  }
  if (spans != nullptr) simulate_gemm_as(gpu, s, best.choice, mode, spans);
  best.time.total = std::max(best.time.total, mode == L2Mode::warm ? gemm_floor_us(gpu, s) : 0.0);
  return best;
}

}  // namespace tessera
