#include "models/transformer/reuse.hpp"

#include <algorithm>

namespace tessera {

double mooncake_threshold(const MooncakeTerms& t, double flops) {
  return flops * 2 * t.hidden * t.element_bytes /
         (t.gqa * (t.a * t.prefix * t.hidden + t.b * t.hidden * t.hidden));
}

PrefixWork prefix_work(const StepWork& step, const KvLayout& kv, std::int64_t from, std::int64_t to) {
  PrefixWork work;
  work.bytes = static_cast<double>(kv.bytes_held(to) - kv.bytes_held(from));
  const std::int64_t tokens = to - from;
  for (const GemmOp& op : step.gemms)
    if (op.rows == Rows::tokens || op.rows == Rows::prefill)
      work.linear_flops += static_cast<double>(op.flops(tokens));
  for (const MoeOp& op : step.moe)
    if (op.rows == Rows::tokens)
      work.linear_flops += 2.0 * static_cast<double>(tokens) * static_cast<double>(op.top_k) *
                           (op.gated ? 3 : 2) * static_cast<double>(op.hidden) *
                           static_cast<double>(op.expert_width) * static_cast<double>(op.layers);
  for (const AttentionOp& op : step.attention) {
    if (op.rows == Rows::decode) continue;
    // Token i meets the i before it and itself, or what its layer keeps.
    const auto upto = [&op](std::int64_t n) {
      const std::int64_t limit = op.rule.bounded() ? std::min(n, op.rule.held(n)) : n;
      const auto full = static_cast<double>(limit), all = static_cast<double>(n);
      return full * (full + 1) / 2 + (all - full) * full;
    };
    work.attention_flops += 2 * (upto(to) - upto(from)) * static_cast<double>(op.q_heads) *
                            static_cast<double>(op.head_dim + op.v_head_dim) * static_cast<double>(op.layers);
  }
  return work;
}

}  // namespace tessera
