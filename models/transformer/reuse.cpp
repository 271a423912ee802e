#include "models/transformer/reuse.hpp"

#include <algorithm>
#include <limits>

namespace tessera {
namespace {

// 1 + 2 + .. + n, each at most `most`.
double sum_up_to(std::int64_t n, std::int64_t most) {
  const auto growing = static_cast<double>(std::min(n, most));
  return growing * (growing + 1) / 2 + static_cast<double>(n - std::min(n, most)) * static_cast<double>(most);
}

// Entries that tokens 1 .. n attend to, each those its layer keeps for it, itself included, or as many as are
// selected. A cascade counts as a window of as many entries as it holds at the end.
double attended(const AttentionOp& op, std::int64_t n) {
  const RetentionRule& rule = op.rule;
  std::int64_t most = op.read_limit > 0 ? op.read_limit : std::numeric_limits<std::int64_t>::max();
  switch (rule.kind) {
    case Retention::chunked:  // every chunk begins anew
      most = std::min(most, rule.window);
      return static_cast<double>(n / rule.window) * sum_up_to(rule.window, most) +
             sum_up_to(n % rule.window, most);
    case Retention::strided: {  // entry e is seen by `stride` tokens before the next is made
      if (rule.slots > 0) most = std::min(most, rule.slots);
      const std::int64_t made = rule.appended(n);
      if (made == 0) return 0;
      const std::int64_t since = std::max<std::int64_t>(0, n - rule.lag) % rule.stride;
      return static_cast<double>(rule.stride) * sum_up_to(made - 1, most) +
             static_cast<double>(since + 1) * static_cast<double>(std::min(made, most));
    }
    case Retention::state:
      return 0;
    case Retention::full:
    case Retention::window:
    case Retention::cascade:
      break;
  }
  return sum_up_to(n, std::min(most, rule.bounded() ? rule.held(n) : n));
}

}  // namespace

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
    if (op.rows != Rows::tokens && op.rows != Rows::prefill) continue;
    work.attention_flops += 2 * (attended(op, to) - attended(op, from)) * static_cast<double>(op.q_heads) *
                            static_cast<double>(op.head_dim + op.v_head_dim) * static_cast<double>(op.layers);
  }
  return work;
}

}  // namespace tessera
