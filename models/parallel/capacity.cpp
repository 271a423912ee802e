#include "models/parallel/capacity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

std::int64_t whole(double bytes) { return static_cast<std::int64_t>(std::llround(bytes)); }

struct Corner {
  double bytes_per_logit;
  double nontorch_gib;
};

CapacityBreakdown at_corner(const RankModel& rank, std::int64_t total_bytes, double utilisation,
                            const MemoryRule& rule, const StepLimits& limits, const Corner& corner) {
  CapacityBreakdown c;
  c.total_bytes = total_bytes;
  c.utilisation = utilisation;
  c.budget_bytes = static_cast<std::int64_t>(std::floor(static_cast<double>(total_bytes) * utilisation));
  c.weight_bytes = rank.weight_bytes();
  c.buffer_bytes = rank.buffer_bytes();
  const double row = rule.activation_inter_terms * static_cast<double>(rank.ffn_width) +
                     rule.activation_hidden_terms * static_cast<double>(rank.hidden);
  c.forward_bytes = whole(static_cast<double>(limits.max_batched_tokens) * bytes_of(rank.dtype) * row);
  c.sampler_bytes = whole(static_cast<double>(limits.max_num_seqs * rank.vocab) * corner.bytes_per_logit);
  c.activation_bytes = std::max(c.forward_bytes, c.sampler_bytes);
  c.nontorch_bytes = whole(corner.nontorch_gib * kGiB);
  c.cuda_graph_bytes = whole(rule.cuda_graph_gib * kGiB);
  c.state_bytes = rank.kv.sequence_bytes() * limits.max_num_seqs;
  c.kv_bytes = c.budget_bytes - c.weight_bytes - c.buffer_bytes - c.activation_bytes - c.nontorch_bytes -
               c.cuda_graph_bytes - c.state_bytes;
  c.block_tokens = limits.block_tokens;
  c.block_bytes = limits.block_bytes > 0 ? limits.block_bytes : rank.kv.block_bytes(limits.block_tokens);
  c.blocks = c.kv_bytes > 0 ? c.kv_bytes / c.block_bytes : 0;
  return c;
}

std::string line(const char* what, std::int64_t bytes, const std::string& note = "") {
  std::string text = fmt::format("  {:<26}{:>18} B  {:>11}", what, human_count(bytes),
                                 human_bytes(static_cast<double>(bytes)));
  return text + (note.empty() ? "" : "  " + note) + "\n";
}

}  // namespace

CapacityBreakdown derive_kv_capacity(const RankModel& rank, std::int64_t total_bytes, double utilisation,
                                     const MemoryRule& rule, const StepLimits& limits) {
  if (!(utilisation > 0 && utilisation <= 1))
    throw InputError(fmt::format("gpu_memory_utilization: {} is out of range, expected above 0 and at most 1",
                                 utilisation));
  TESSERA_CHECK(limits.block_tokens > 0 && limits.max_num_seqs > 0 && limits.max_batched_tokens > 0,
                "limits are read with a minimum of 1");
  if (rank.kv.block_bytes(limits.block_tokens) == 0)
    throw InputError(rank.name + ": the model stores no keys and values, so no KV capacity can be derived");
  const Corner expected{rule.sampler_bytes_per_logit, rule.nontorch_growth_gib};
  CapacityBreakdown c = at_corner(rank, total_bytes, utilisation, rule, limits, expected);
  const Corner heavy{rule.sampler_bytes_per_logit_high, rule.nontorch_growth_gib_high};
  const Corner light{rule.sampler_bytes_per_logit_low, rule.nontorch_growth_gib_low};
  c.blocks_low = at_corner(rank, total_bytes, utilisation, rule, limits, heavy).blocks;
  c.blocks_high = at_corner(rank, total_bytes, utilisation, rule, limits, light).blocks;
  if (c.blocks == 0)
    throw InputError(fmt::format("{} does not fit: no memory is left for a KV block of {}\n{}", rank.name,
                                 human_bytes(static_cast<double>(c.block_bytes)), to_text(c)));
  return c;
}

std::string to_text(const CapacityBreakdown& c) {
  std::string text = line("memory the driver reports", c.total_bytes);
  text += line("x utilisation", c.budget_bytes, fmt::format("x {}", shortest(c.utilisation)));
  text += line("- weights", c.weight_bytes);
  text += line("- buffers", c.buffer_bytes);
  text += line(
      "- activation peak", c.activation_bytes,
      fmt::format("larger of forward {} and sampler {}", human_bytes(static_cast<double>(c.forward_bytes)),
                  human_bytes(static_cast<double>(c.sampler_bytes))));
  text += line("- non-torch growth", c.nontorch_bytes);
  if (c.cuda_graph_bytes > 0) text += line("- CUDA graphs", c.cuda_graph_bytes);
  if (c.state_bytes > 0) text += line("- recurrent state", c.state_bytes);
  text += line("= for KV", c.kv_bytes);
  text += line("/ block", c.block_bytes, fmt::format("{} tokens", c.block_tokens));
  text += fmt::format("  = {} blocks, {} tokens (from {} to {} blocks over the rule's ranges)\n",
                      human_count(c.blocks), human_count(c.tokens()), human_count(c.blocks_low),
                      human_count(c.blocks_high));
  return text;
}

}  // namespace tessera
