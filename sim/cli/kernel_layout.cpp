#include "sim/cli/kernel_layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/parallel/partition.hpp"
#include "models/transformer/attention_span.hpp"
#include "models/transformer/kv_shapes.hpp"

namespace tessera {
namespace {

const AttentionOp& op_of(const RankModel& rank, const LayoutChoice& choice) {
  std::vector<const AttentionOp*> decodes;
  std::vector<std::string> names;
  for (const AttentionOp& op : rank.step.attention) {
    if (op.rows == Rows::prefill || op.kind == AttentionOp::Kind::index_scores) continue;
    if (std::find(names.begin(), names.end(), op.name) != names.end()) continue;
    decodes.push_back(&op), names.push_back(op.name);
  }
  if (decodes.empty()) throw InputError("--model " + choice.model + ": has no attention layers");
  if (choice.group.empty() && decodes.size() == 1) return *decodes.front();
  const auto at = std::find(names.begin(), names.end(), choice.group);
  if (at != names.end()) return *decodes[static_cast<std::size_t>(at - names.begin())];
  if (choice.group.empty())
    throw InputError(
        fmt::format("--group: {} has several, expected one of {}", choice.model, join(names, ", ")));
  throw InputError(fmt::format("--group {}: not known, expected one of {}{}", choice.group, join(names, ", "),
                               did_you_mean(choice.group, names)));
}

}  // namespace

std::string take_layout(AttentionProblem& problem, const LayoutChoice& choice, const std::string& kv_dtype) {
  const ShapedModel shaped = apply_shape(load_model(choice.model), choice.shape, kv_dtype);
  Parallel parallel;
  parallel.tp = choice.tp;
  const RankModel rank = partition(shaped.model, parallel, shaped.precision);
  const AttentionOp& op = op_of(rank, choice);
  const std::string name = fmt::format("{} {}", choice.model, op.name);
  if (op.kind != AttentionOp::Kind::gqa)
    throw InputError("--model: " + name + " attends to latents, which no tile program does yet");
  if (op.converts)
    throw InputError(
        fmt::format("--model: {} stores {} and converts it in a kernel of its own; expected a type "
                    "that attention reads, as bf16 or fp8",
                    name, shaped.precision.name));
  problem.q_heads = static_cast<int>(op.q_heads), problem.kv_heads = static_cast<int>(op.kv_heads);
  problem.head_dim = static_cast<int>(op.head_dim), problem.v_head_dim = static_cast<int>(op.v_head_dim);
  problem.window = op.rule.strided() ? 0 : attention_span(op);
  problem.element_bytes = bytes_of(rank.dtype);
  problem.kv_element_bytes = bytes_of(op.kv_dtype);
  for (AttentionSequence& s : problem.sequences) s.keys = std::max(s.queries, s.keys / op.rule.stride);
  return fmt::format(" {} ({} layers, {})", name, op.layers, shaped.precision.name);
}

}  // namespace tessera
