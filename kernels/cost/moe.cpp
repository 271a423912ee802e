// The routed experts of one layer on one rank, as one fused call: top-k, align, two grouped GEMMs,
// activation, combine (the router's own GEMM is not in it).
//   t = floor + permute log2(1 + tokens top_k / 64) + experts term
//       + min over bm of the two GEMMs, each (compute^3 + weights^3)^(1/3)
//       + elementwise bytes / (elementwise_fraction x pin rate)
// Compute of a grouped GEMM is that of kernels/cost/gemm.cpp with tiles bm x 128 over rows padded per expert;
// weights are those of the experts that have work. A kernel that walks all assignments (Triton with an expert
// map) activates, zeroes and sums the rows of every rank. MXFP4 experts (4.25 bits a weight) where the card
// multiplies them in bf16 have parameters of their own: other kernels, about twice as many small ones.
// Source: fitted to the public AIConfigurator MoE tables; errors stand in configs/kernels. Leaves out: the
// autotuner's choice of configuration, which is most of the remaining error (p90 about 22 %), shared experts
// (dense GEMMs of their own), and all-to-all between ranks (collective.cpp).
#include "kernels/cost/moe.hpp"

#include <cmath>

#include "kernels/cost/moe_load.hpp"
#include "kernels/tiles/gemm_tiles.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr int kRowTiles[] = {16, 32, 64, 128};
constexpr int kColumnTile = 128;

// Of a stored weight: MXFP4 has a shared 8-bit exponent for 32 of them.
double weight_bytes(DType dtype) { return dtype == DType::fp4 ? 0.5 + 1.0 / 32 : bytes_of(dtype); }

bool converts(const Gpu& gpu, const MoeShape& s) {
  return s.dtype == DType::fp4 && gpu.kernels->moe.mxfp4.has_value();
}
const MoeRates& rates_of(const Gpu& gpu, const MoeShape& s) {
  const MoeParams& params = gpu.kernels->moe;
  return converts(gpu, s) ? *params.mxfp4 : params;
}

struct Sizes {
  double hidden, width;  // one slice of an expert
  double up_columns;     // outputs of the first GEMM: gate and up
  double weights;        // bytes of one expert's slice
};

Sizes sizes_of(const MoeShape& s) {
  const double hidden = static_cast<double>(s.hidden);
  const double width = static_cast<double>(s.expert_width) / s.tp;
  const double up = s.gated ? 2 * width : width;
  return {hidden, width, up, (up + width) * hidden * weight_bytes(s.dtype)};
}

double flops_of(const Sizes& z, double rows) { return 2 * rows * z.hidden * (z.up_columns + z.width); }

// One grouped GEMM over padded rows: columns outputs, depth inputs; memory is expert weights in and results
// out.
OpTime grouped_gemm(const Gpu& gpu, const MoeShape& s, double padded_rows, int bm, double columns,
                    double depth, double hbm_bytes) {
  const MoeRates& p = rates_of(gpu, s);
  const double sms = static_cast<double>(gpu.sms);
  const double sm_rate =
      gpu.peak_flops(s.dtype) * 1e-6 * p.compute_fraction * gpu.kernels->sustained_clock_fraction / sms;
  const double k = kGemmKStep * std::ceil(depth / kGemmKStep);
  const double ctas = padded_rows / bm * std::ceil(columns / kColumnTile);
  const double per_sm = ctas / sms, whole = std::ceil(per_sm);
  const double waves = per_sm <= 1 ? 1 : per_sm + p.wave_quantisation * (whole - per_sm);
  const double in_turn = std::max(1.0, waves / std::min(ctas_per_sm({bm, kColumnTile}), whole));
  const double tensor = waves * 2 * bm * kColumnTile / sm_rate;
  const double activation_bytes = converts(gpu, s) ? 2 : bytes_of(s.dtype);
  const double feed =
      ctas * (bm * activation_bytes + kColumnTile * weight_bytes(s.dtype)) / (p.l2_feed_gb_s * 1e3);
  const double overlapped = std::sqrt(std::sqrt(std::pow(tensor, 4) + std::pow(feed, 4)));
  const double latency = in_turn * p.serial_ns_per_k * 1e-3;
  const double compute = std::max(overlapped, latency) * k;
  OpTime t;
  t.hbm = hbm_bytes / (gpu.hbm_bytes_per_us() * p.hbm_fraction);
  t.total = std::cbrt(compute * compute * compute + t.hbm * t.hbm * t.hbm);
  t.compute = tensor * k;
  t.l2 = feed * k;
  t.launch = std::max(0.0, latency - overlapped) * k;
  return t;
}

}  // namespace

double moe_floor_us(const Gpu& gpu, const MoeShape& s) { return moe_floor_us(gpu, s, expert_load(s)); }

OpTime moe_time(const Gpu& gpu, const MoeShape& s) { return moe_time(gpu, s, expert_load(s)); }

double moe_floor_us(const Gpu& gpu, const MoeShape& s, const ExpertLoad& load) {
  const Sizes z = sizes_of(s);
  return physics_floor_us(flops_of(z, load.rows()), gpu.peak_flops(s.dtype), load.touched() * z.weights,
                          gpu.hbm_bytes_per_us());
}

OpTime moe_time(const Gpu& gpu, const MoeShape& s, const ExpertLoad& load) {
  TESSERA_CHECK(s.tokens > 0 && s.top_k > 0 && s.experts > 0 && s.tp > 0 && s.ep > 0,
                "experts with work to do");
  const MoeRates& p = rates_of(gpu, s);
  const Sizes z = sizes_of(s);
  const double es = weight_bytes(s.dtype);
  const double rows = load.rows(), touched = load.touched();
  const double tokens = static_cast<double>(s.tokens);
  const double all_rows = tokens * s.top_k;

  OpTime gemms;
  gemms.total = std::numeric_limits<double>::infinity();
  for (const int bm : kRowTiles) {
    const double padded = load.padded_rows(bm);
    OpTime pair = grouped_gemm(gpu, s, padded, bm, z.up_columns, z.hidden,
                               z.up_columns * (touched * z.hidden * es + rows * 2));
    pair +=
        grouped_gemm(gpu, s, padded, bm, z.hidden, z.width, z.hidden * (touched * z.width * es + rows * 2));
    if (pair.total < gemms.total) gemms = pair;
  }

  // Activation reads up, writes width; combine reads hidden per assignment and writes hidden per token.
  const double walked = p.all_assignments ? all_rows : rows;
  const double zeroed = (walked - rows) * (z.up_columns + z.hidden);
  const double elements = walked * (z.up_columns + z.width + z.hidden) + zeroed + tokens * z.hidden;
  const double elementwise = elements * 2 / (gpu.hbm_bytes_per_us() * p.elementwise_fraction);

  OpTime t = gemms;
  const double fixed =
      p.floor_us + p.permute_us * std::log2(1 + all_rows / 64) + p.per_100_experts_us * s.experts / 100;
  t.total += fixed + elementwise;
  t.launch += fixed;
  t.hbm += elementwise;
  t.in_range = bytes_of(s.dtype) == 2 || converts(gpu, s);
  TESSERA_CHECK(t.total >= moe_floor_us(gpu, s, load), "a prediction is never faster than physics allows");
  return t;
}

}  // namespace tessera
