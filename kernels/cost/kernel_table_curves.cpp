// The kernels of the `table` source that are measured over one size: routed experts over tokens, collectives
// over bytes. As in kernel_table.cpp ln u = ln(closed form / measured) is interpolated, here between the two
// neighbouring sizes of exactly that layer or group; any other layer, split, distribution or group has no
// answer. Median error in percent over 5 folds of shapes (closed form alone in brackets), H100, A100:
//   bf16 experts 2.0, 2.1 (7.4, 18.8); NCCL 2.6, 2.8 (4.1, 4.2); framework all-reduce 1.9, 1.5 (4.0, 2.6).
// Leaves out: layers between measured ones, where the autotuner's choice of configuration decides.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cost/kernel_table.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

DType measured_as(DType type) { return type == DType::fp16 ? DType::bf16 : type; }

// The reference's terms, at the measured utilisation, never faster than physics.
OpTime at_utilisation(OpTime time, const MeasuredCurve& curve, double size, double floor_us) {
  time.total = std::max(time.total / std::exp(curve.log_utilisation(size)), floor_us);
  time.in_range = curve.contains(size);
  return time;
}

}  // namespace

KernelTable::MoeKey KernelTable::key_of(const MoeShape& s) {
  return {s.hidden, s.expert_width,       s.experts,  s.top_k, s.tp, s.ep,
          s.gated,  measured_as(s.dtype), s.power_law};
}

void KernelTable::add_moe(const MoeShape& shape, double us) {
  TESSERA_CHECK(!finished_ && shape.tokens > 0 && us > 0, "a measured expert layer has tokens and a time");
  moes_.push_back({shape, us});
}

void KernelTable::add_collective(Collective op, int gpus, double bytes, DType dtype, double us) {
  TESSERA_CHECK(!finished_ && gpus > 1 && bytes > 0 && us > 0, "a measured collective has ranks and a time");
  collectives_.push_back({op, gpus, bytes, dtype, us});
}

void KernelTable::add_all_reduce(int gpus, double bytes, bool graph, double us) {
  TESSERA_CHECK(!finished_ && gpus > 1 && bytes > 0 && us > 0, "a measured all-reduce has ranks and a time");
  all_reduces_.push_back({gpus, bytes, graph, us});
}

void KernelTable::finish_curves(const Gpu& gpu) {
  for (const MoeRow& row : moes_)
    moe_[key_of(row.shape)].add(static_cast<double>(row.shape.tokens),
                                std::log(moe_time(gpu, row.shape).total / row.us));
  for (const CollectiveRow& row : collectives_)
    collective_[{row.op, row.gpus, row.dtype == DType::int8}].add(
        row.bytes, std::log(nccl_time(gpu, row.op, row.gpus, row.bytes, row.dtype).total / row.us));
  for (const AllReduceRow& row : all_reduces_)
    all_reduce_[{row.gpus, row.graph}].add(
        row.bytes, std::log(all_reduce_time(gpu, row.gpus, row.bytes, row.graph).total / row.us));
}

std::optional<OpTime> KernelTable::moe(const Gpu& gpu, const MoeShape& shape) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  auto of = moe_.find(key_of(shape));
  if (shape.drawn) {  // by the mildest power law that was measured, else by balanced experts
    MoeShape measured = shape;
    measured.power_law = std::numeric_limits<double>::min();
    const MoeKey least = key_of(measured);
    measured.power_law = std::numeric_limits<double>::max();
    of = moe_.lower_bound(least);
    if (of == moe_.end() || of->first > key_of(measured)) {
      measured.power_law = 0;
      of = moe_.find(key_of(measured));
    }
  }
  if (of == moe_.end()) return std::nullopt;
  return at_utilisation(moe_time(gpu, shape), of->second, static_cast<double>(shape.tokens),
                        moe_floor_us(gpu, shape));
}

std::optional<OpTime> KernelTable::collective(const Gpu& gpu, Collective op, int gpus, double bytes,
                                              DType dtype) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  const auto of = collective_.find({op, gpus, dtype == DType::int8});
  if (of == collective_.end()) return std::nullopt;
  return at_utilisation(nccl_time(gpu, op, gpus, bytes, dtype), of->second, bytes,
                        collective_floor_us(gpu, op, gpus, bytes, dtype));
}

std::optional<OpTime> KernelTable::all_reduce(const Gpu& gpu, int gpus, double bytes, bool graph) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  const auto of = all_reduce_.find({gpus, graph});
  if (of == all_reduce_.end()) return std::nullopt;
  return at_utilisation(all_reduce_time(gpu, gpus, bytes, graph), of->second, bytes,
                        collective_floor_us(gpu, Collective::all_reduce, gpus, bytes));
}

}  // namespace tessera
