// The tokens of context that one attention operator reads per decode; 0: all of them.
#pragma once

#include "models/transformer/step_work.hpp"

namespace tessera {

inline std::int64_t attention_span(const AttentionOp& op) {
  const RetentionRule& rule = op.rule;
  if (op.read_limit > 0) return rule.lag + op.read_limit * rule.stride;
  if (rule.strided()) return rule.slots > 0 ? rule.lag + rule.slots * rule.stride : 0;
  return rule.kind == Retention::full ? 0 : rule.window + rule.sinks;
}

}  // namespace tessera
