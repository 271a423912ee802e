// A small kernel takes the gap between dependent graph nodes plus the longer of one microsecond (ramp up, two
// dependent loads, drain) and its bytes: at half the L2 read rate while they fit L2 (a copy reads and writes
// through it), else at the achieved rate of device memory, with the residency curve of kernels/cost/gemm.cpp.
//   t = kernels x (gap + max(body, miss bytes / HBM + hit bytes / (L2 / 2)))
// The sampler is 26 us plus 0.3 us a sequence: top-k, softmax and multinomial are fixed launches, then a pass
// over the vocabulary.
// Source: small-kernel rates of RRZE gpu-benches (2 us a kernel with the graph gap); sampler from
// per-sequence layer times of vLLM 0.19 runs (LLMServingSim, MIT). Leaves out: fusion differences between
// compilers.
#include "kernels/cost/elementwise.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kBodyUs = 1.0;
constexpr double kCopyShareOfL2 = 0.5;
constexpr double kSamplerUs = 26;
constexpr double kSamplerPerSequenceUs = 0.3;

}  // namespace

OpTime elementwise_time(const Gpu& gpu, int kernels, double bytes) {
  TESSERA_CHECK(kernels >= 0 && bytes >= 0, "kernels that move bytes");
  if (kernels == 0) return {};
  const GemmParams& p = gpu.kernels->gemm;
  const double each = bytes / kernels;
  const double share = p.l2_share * static_cast<double>(gpu.l2_bytes);
  const double miss = 1 - 1 / (1 + std::pow(each / share, p.l2_sharpness));
  OpTime t;
  t.hbm = kernels * each * miss / (gpu.hbm_bytes_per_us() * p.hbm_fraction);
  t.l2 = kernels * each * (1 - miss) / (gpu.l2_gb_s * 1e3 * kCopyShareOfL2);
  t.launch = kernels * gpu.graph_launch_us;
  t.total = t.launch + std::max(kernels * kBodyUs, t.hbm + t.l2);
  return t;
}

OpTime sampler_time(const Gpu&, std::int64_t sequences) {
  TESSERA_CHECK(sequences >= 0, "a count of sequences");
  if (sequences == 0) return {};
  OpTime t;
  t.launch = kSamplerUs;
  t.compute = kSamplerPerSequenceUs * static_cast<double>(sequences);
  t.total = t.launch + t.compute;
  return t;
}

}  // namespace tessera
