// When stored KV of a prefix is worth loading: bytes to load against FLOPs saved.
//
//   load wins where   bytes(p) / B  <  FLOPs(p) / G,   so   B > G x bytes(p) / FLOPs(p)
//
// Mooncake (FAST 2025, equation 2) writes both per layer for a prefix of p tokens: bytes = 2 p d s / gqa and
// FLOPs = a p^2 d + b p d^2, with a = 4 (scores and values, not halved by causality) and b = 22 (its
// feed-forward width and grouped heads). `prefix_work` counts them from the model's own operators instead:
// causal attention is half of that, and every matrix has its own size.
#pragma once

#include <cstdint>

#include "models/transformer/kv_layout.hpp"
#include "models/transformer/step_work.hpp"

namespace tessera {

struct MooncakeTerms {
  double hidden = 0;         // d
  double gqa = 1;            // query heads per KV head
  double element_bytes = 2;  // s
  double prefix = 0;         // p
  double a = 4, b = 22;
};

// Bytes per second above which loading beats computing at `flops` FLOP/s.
double mooncake_threshold(const MooncakeTerms& terms, double flops);

struct PrefixWork {
  double bytes = 0;
  double linear_flops = 0, attention_flops = 0;
  [[nodiscard]] double flops() const { return linear_flops + attention_flops; }
  [[nodiscard]] double threshold(double flop_rate) const { return flop_rate * bytes / flops(); }
};

// Of tokens [from, to), all ranks: layout and operators of the whole model (tp 1).
PrefixWork prefix_work(const StepWork& step, const KvLayout& kv, std::int64_t from, std::int64_t to);

}  // namespace tessera
