// Collectives inside one node, B bytes a rank, p ranks.
//   custom one-shot: base + rank (p-2) + (p-1) B / b1, every rank reading every peer's buffer
//   custom two-shot: base + rank (p-2) + two_shot log2 p + 2(p-1)/p B / b2, reduce-scatter then all-gather
//   NCCL: base + steps x step + the least of W/b_LL, d128 + W/b_128 and d_S + W/b_S
//     steps = 2(p-1) all-reduce, p-1 all-gather and reduce-scatter, none all-to-all (plus its own start)
//     W = 2(p-1)/p B all-reduce, (p-1 + copy)/p B otherwise; on a whole node also d_N + B/b_N in the switch
// The custom kernel's thresholds are those of vLLM (csrc/custom_all_reduce.cuh): two ranks one-shot, up to
// four two-shot from 512 KiB, more from 256 KiB; without NVLink it serves two ranks only. An eager call
// cannot beat the host, and copies its buffer first. Source: nccl-tests and framework all-reduce tables of
// AIConfigurator (Apache-2.0). Leaves out: more than one node, contention with other traffic, channel-count
// tuning (two ranks between 2 and 128 MiB: 10-25 % fast).
#include "kernels/cost/collective.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kTwoShotFromBytesFew = 512 * 1024;   // up to four ranks
constexpr double kTwoShotFromBytesMany = 256 * 1024;  // more

double link_bytes_per_us(const Gpu& gpu) {
  return 1e3 * (gpu.nvlink_gb_s > 0 ? double{gpu.nvlink_gb_s} : double{gpu.pcie_gb_s});
}

bool reduces_in_switch(const Gpu& gpu, Collective op, int gpus, DType dtype) {
  return dtype != DType::int8 && op == Collective::all_reduce &&
         gpu.kernels->collectives.nccl.switch_gb_s > 0 && gpus > 4;
}

OpTime with_terms(double start, double transfer) {
  OpTime t;
  t.total = start + transfer;
  t.launch = start;
  t.link = transfer;
  return t;
}

bool custom_serves(const Gpu& gpu, int gpus, double bytes) {
  return bytes < gpu.kernels->collectives.custom.limit_bytes && gpus <= 8 &&
         (gpu.nvlink_gb_s > 0 || gpus == 2);
}

OpTime custom_time(const Gpu& gpu, int gpus, double bytes) {
  const CustomAllReduceParams& p = gpu.kernels->collectives.custom;
  const double start = p.base_us + p.rank_us * (gpus - 2);
  const bool two_shot = gpus > 2 && bytes >= (gpus <= 4 ? kTwoShotFromBytesFew : kTwoShotFromBytesMany);
  if (two_shot)
    return with_terms(start + p.two_shot_us * std::log2(gpus),
                      2.0 * (gpus - 1) / gpus * bytes / (p.two_shot_gb_s * 1e3));
  return with_terms(start, (gpus - 1) * bytes / (p.one_shot_gb_s * 1e3));
}

}  // namespace

double collective_floor_us(const Gpu& gpu, Collective op, int gpus, double bytes, DType dtype) {
  if (gpus <= 1) return 0;
  const double part = static_cast<double>(gpus - 1) / gpus;
  // A rank sends its share to every other; an all-reduce does so twice unless the switch adds for it.
  const double sent = op != Collective::all_reduce              ? part * bytes
                      : reduces_in_switch(gpu, op, gpus, dtype) ? bytes
                                                                : 2 * part * bytes;
  return sent / link_bytes_per_us(gpu);
}

OpTime nccl_time(const Gpu& gpu, Collective op, int gpus, double bytes, DType dtype) {
  TESSERA_CHECK(gpus >= 1 && bytes >= 0, "a collective among ranks");
  if (gpus == 1) return {};
  const NcclParams& p = gpu.kernels->collectives.nccl;
  const bool all_to_all = op == Collective::all_to_all;
  const double steps = all_to_all ? 0 : op == Collective::all_reduce ? 2.0 * (gpus - 1) : gpus - 1;
  const double wire = op == Collective::all_reduce ? 2.0 * (gpus - 1) / gpus * bytes
                                                   : (gpus - 1 + p.copy_share) / gpus * bytes;
  const double start = p.base_us + steps * p.step_us + (all_to_all ? p.all_to_all_us : 0);
  const auto middle_us = all_to_all ? p.all_to_all_ll128_us : p.ll128_us;
  const auto middle_gb_s = all_to_all ? p.all_to_all_ll128_gb_s : p.ll128_gb_s;

  OpTime best = with_terms(start, wire / (p.ll_gb_s * 1e3));
  const auto consider = [&best](const OpTime& t) {
    if (t.total < best.total) best = t;
  };
  consider(with_terms(start + middle_us, wire / (middle_gb_s * 1e3)));
  consider(with_terms(start + p.simple_us, wire / (p.simple_gb_s * 1e3)));
  if (reduces_in_switch(gpu, op, gpus, dtype))
    consider(with_terms(start + p.switch_us, bytes / (p.switch_gb_s * 1e3)));
  TESSERA_CHECK(best.total >= collective_floor_us(gpu, op, gpus, bytes, dtype),
                "no collective beats its links");
  return best;
}

OpTime all_reduce_time(const Gpu& gpu, int gpus, double bytes, bool graph) {
  TESSERA_CHECK(gpus >= 1 && bytes >= 0, "an all-reduce among ranks");
  if (gpus == 1) return {};
  const bool custom = custom_serves(gpu, gpus, bytes);
  OpTime t = custom ? custom_time(gpu, gpus, bytes) : nccl_time(gpu, Collective::all_reduce, gpus, bytes);
  if (!graph) {
    t.hbm = 2 * bytes / (gpu.hbm_bytes_per_us() * gpu.kernels->gemm.hbm_fraction);
    t.total += t.hbm;
    const double host = gpu.kernels->collectives.custom.eager_host_us;
    t.host = host;
    t.total = std::max(t.total, host);
  }
  TESSERA_CHECK(t.total >= collective_floor_us(gpu, Collective::all_reduce, gpus, bytes),
                "no all-reduce beats its links");
  return t;
}

}  // namespace tessera
