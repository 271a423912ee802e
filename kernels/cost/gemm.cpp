// One dense GEMM, y[m,n] = x[m,k] W[k,n], as the library would run it: for every output tile bm x bn and
// split s of k (kernels/tiles/gemm_tiles.hpp) the time is
//   t = floor + (compute^3 + memory^3)^(1/3) + fix-up(s)
// and the answer is the least of them. With f CTAs per SM, q = f rounded up to waves by `wave_quantisation`:
//   compute = max((tensor^4 + feed^4)^(1/4), CTAs in turn x serial latency) k/s + epilogue per wave
//   tensor  = q 2 bm bn / (compute_fraction x peak per SM)
//   feed    = f (bm + bn) bytes / (L2 rate per SM)
//   memory  = bytes that miss L2 / (hbm_fraction x pin rate) + y kept in L2 / (a third of the L2 rate)
// fp8 adds the kernel that quantises the activations: a row takes the longer of a fixed time and its bytes.
// Source: fitted to the public AIConfigurator tables (Apache-2.0); figures and held-out errors stand in
// configs/kernels. Leaves out: the library's heuristic where it is not near the optimum (two runs of one card
// scatter by 3 / 12 % median / p90), stream-K, power throttling.
#include "kernels/cost/gemm.hpp"

#include <array>
#include <cmath>

#include "kernels/tiles/gemm_tiles.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kStoreShare = 1.0 / 3;  // of the L2 rate, for results that stay in L2
constexpr double kFixUpShare = 0.8;      // of split-K partial sums written and read through L2
constexpr double kFixUpBytes = 8;        // one fp32 partial sum written and read

// Bytes of one launch and how many of them miss L2.
struct Traffic {
  double weights, activations, outputs;  // useful bytes
  double hbm;                            // that cross the pins
  double resident_outputs;
};

// How much of a working set replayed in a cycle survives in L2: 1 well below the share, 0 well above. Of a
// longer cycle a replacement that resists thrashing keeps `l2_retained` of the share.
double hit_share(double footprint, double share, double sharpness) {
  return 1 / (1 + std::pow(footprint / share, sharpness));
}

Traffic traffic_of(const Gpu& gpu, const GemmParams& p, const GemmShape& s) {
  const double es = bytes_of(s.dtype);
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n), k = static_cast<double>(s.k);
  Traffic t{n * k * es, m * k * es, m * n * 2, 0, 0};
  const double share = p.l2_share * static_cast<double>(gpu.l2_bytes);
  const double io = t.activations + t.outputs;
  const double io_hit = hit_share(t.weights + io, share, p.l2_sharpness);
  const double cycle = s.weight_copies * t.weights + io;
  const double weight_hit = s.weight_copies == 0 ? 0
                                                 : std::max(hit_share(cycle, share, p.l2_sharpness),
                                                            p.l2_retained * std::min(1.0, share / cycle));
  t.hbm = t.weights * (1 - weight_hit) + io * (1 - io_hit);
  t.resident_outputs = t.outputs * io_hit;
  return t;
}

// fp8 activations and weights on fp8 tensor cores; other cards convert the weights and multiply in bf16.
bool multiplies_fp8(const Gpu& gpu, DType type) { return type == DType::fp8 && gpu.fp8_flops_per_clk_sm > 0; }

bool keeps_small_whole(const Gpu& gpu) {
  return gpu.architecture == "ada" || gpu.architecture == "blackwell-gb20x";
}

}  // namespace

double gemm_floor_us(const Gpu& gpu, const GemmShape& s) {
  const double es = bytes_of(s.dtype);
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n), k = static_cast<double>(s.k);
  const double weights = n * k * es, io = m * k * es + m * n * 2;
  const double l2 = static_cast<double>(gpu.l2_bytes);
  // A replay of C copies can keep at most L2's worth of its whole cycle.
  const double hbm = s.weight_copies == 0
                         ? weights + std::max(0.0, io - l2)
                         : std::max(0.0, s.weight_copies * weights + io - l2) / s.weight_copies;
  return physics_floor_us(2 * m * n * k, gpu.peak_flops(s.dtype), hbm, gpu.hbm_bytes_per_us());
}

namespace {

struct Candidate {
  GemmChoice choice;
  OpTime time;
};

// The `count` best candidates in `best`, fastest first; entries beyond those found keep an infinite time.
void rank(const Gpu& gpu, const GemmParams& p, const GemmShape& s, std::span<Candidate> best) {
  TESSERA_CHECK(s.m > 0 && s.n > 0 && s.k > 0, "a GEMM has rows, columns and depth");
  const bool fp8 = multiplies_fp8(gpu, s.dtype);
  const double es = bytes_of(s.dtype);
  const double m = static_cast<double>(s.m), n = static_cast<double>(s.n);
  const double sms = static_cast<double>(gpu.sms);
  const double l2_rate = p.l2_feed_gb_s * 1e3;  // bytes per microsecond
  const double fraction = fp8 ? p.fp8.compute_fraction : p.compute_fraction;
  const double sm_rate =
      gpu.peak_flops(s.dtype) * 1e-6 * fraction * gpu.kernels->sustained_clock_fraction / sms;
  const double serial = 1e-3 * (fp8        ? p.fp8.serial_ns_per_k
                                : s.m == 1 ? p.gemv_serial_ns_per_k
                                           : p.serial_ns_per_k);

  const bool whole_k =
      (fp8 && !p.fp8.split_k) || (keeps_small_whole(gpu) && too_small_to_split(s.m, s.n, s.k));
  const Traffic bytes = traffic_of(gpu, p, s);
  const double hbm = bytes.hbm / (gpu.hbm_bytes_per_us() * p.hbm_fraction);

  for (Candidate& c : best) c.time.total = std::numeric_limits<double>::infinity();
  OpTime& worst = best.back().time;
  for (const GemmTile tile : kGemmTiles) {
    if (!tile_suits(tile, s.m, s.n)) continue;
    const double tiles = static_cast<double>(tile_count(tile, s.m, s.n));
    const double occupancy = ctas_per_sm(tile);
    const double area = static_cast<double>(tile.bm) * tile.bn;
    for (const int splits : kGemmSplits) {
      if (!split_suits(splits, s.k) || (splits > 1 && whole_k)) break;
      const double fix_up =
          splits == 1 ? 0 : p.split_us + kFixUpShare * kFixUpBytes * m * n * splits / l2_rate;
      if (p.floor_us + fix_up >= worst.total) break;  // more splits only add to it
      const double ctas = tiles * splits;
      const double per_sm = ctas / sms;
      const double whole = std::ceil(per_sm);
      const double waves = per_sm <= 1 ? 1 : per_sm + p.wave_quantisation * (whole - per_sm);
      const double in_turn = std::max(1.0, waves / std::min(occupancy, whole));
      const double k = static_cast<double>(k_per_split(s.k, splits));

      const double tensor = waves * 2 * area / sm_rate;
      const double feed = per_sm * (tile.bm + tile.bn) * es * sms / l2_rate;
      const double tensor2 = tensor * tensor, feed2 = feed * feed;
      const double overlapped = std::sqrt(std::sqrt(tensor2 * tensor2 + feed2 * feed2));
      const double latency = in_turn * serial;
      const double epilogue = p.epilogue_us * area / 16384 * in_turn;
      const double compute = std::max(overlapped, latency) * k + epilogue;
      const double store = bytes.resident_outputs / (l2_rate * kStoreShare * std::min(1.0, per_sm));
      const double memory = hbm + store;

      const double fixed = p.floor_us + fix_up;
      if (fixed + std::max(compute, memory) >= worst.total) continue;
      const double total = fixed + std::cbrt(compute * compute * compute + memory * memory * memory);
      if (total >= worst.total) continue;
      OpTime time;
      time.total = total;
      time.compute = tensor * k;
      time.l2 = feed * k + store;
      time.hbm = hbm;
      time.launch = fixed + epilogue + std::max(0.0, latency - overlapped) * k;
      std::size_t at = best.size() - 1;
      for (; at > 0 && best[at - 1].time.total > total; --at) best[at] = best[at - 1];
      best[at] = {{tile, splits}, time};
    }
  }
}

// The kernel that quantises activations, before an fp8 product.
double quantise_us(const GemmParams& p, const GemmShape& s) {
  // One CTA a row: its latency while rows are short, its bytes when they are long.
  const double row_us =
      std::max(1e-3 * p.fp8.quantise_row_ns, 3 * static_cast<double>(s.k) / (p.fp8.quantise_gb_s * 1e3));
  return p.fp8.quantise_us + static_cast<double>(s.m) * row_us;
}

}  // namespace

std::size_t gemm_choices(const Gpu& gpu, const GemmParams& p, const GemmShape& s,
                         std::span<GemmChoice> choices) {
  std::array<Candidate, kMostGemmChoices> best;
  TESSERA_CHECK(!choices.empty() && choices.size() <= best.size(), "as many choices as are kept");
  rank(gpu, p, s, {best.data(), choices.size()});
  std::size_t found = 0;
  while (found < choices.size() && std::isfinite(best[found].time.total)) {
    choices[found] = best[found].choice;
    ++found;
  }
  return found;
}

double gemm_quantise_us(const Gpu& gpu, const GemmParams& p, const GemmShape& s) {
  return multiplies_fp8(gpu, s.dtype) ? quantise_us(p, s) : 0;
}

OpTime gemm_time(const Gpu& gpu, const GemmShape& s) {
  const GemmParams& p = gpu.kernels->gemm;
  std::array<Candidate, 1> one;
  rank(gpu, p, s, one);
  OpTime best = one.front().time;
  const double quantise = gemm_quantise_us(gpu, p, s);
  best.total += quantise;
  best.launch += quantise;
  best.in_range = s.m <= p.max_m && s.n <= p.max_n && s.k <= p.max_k;
  TESSERA_CHECK(best.total >= gemm_floor_us(gpu, s), "a prediction is never faster than physics allows");
  return best;
}

}  // namespace tessera
