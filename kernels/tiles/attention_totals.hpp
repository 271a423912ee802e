// What the attention programs move in all, without walking their steps: sums over row blocks of
//   K and V   the keys of the visible tiles, cut at the last key     Q  once a CTA that has keys
// The walk must give the same numbers to the byte (tested).
#pragma once

#include "kernels/tiles/attention_fa1.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_standard.hpp"

namespace tessera {

// Bytes by tensor, tensor-core FLOPs and exponentials; alu_ops stay 0.
Traffic totals_of(const FlashForward& program);
Traffic totals_of(const FlashCombine& program);
Traffic totals_of(const KvWrite& program);
Traffic totals_of(const RowCopy& program);
Traffic totals_of(const StandardKernel& program);
Traffic totals_of(const FlashAttention1& program);

template <class Launch>
Traffic totals_of_launch(const Launch& launch) {
  Traffic sum;
  launch.for_each([&](const char*, const auto& program) { sum += totals_of(program); });
  return sum;
}

}  // namespace tessera
