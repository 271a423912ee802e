#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "models/hardware/gpu.hpp"
#include "models/parallel/capacity.hpp"
#include "models/transformer/explain_kv.hpp"
#include "sim/cli/commands.hpp"
#include "sim/serving/run_config.hpp"

namespace tessera {
namespace {

Model model_of(const ExplainOptions& options) {
  Yaml tree = load_config("models", options.model);
  for (const std::string& text : options.overrides) {
    const std::size_t equals = text.find('=');
    const Location at{"--set " + text, 0, 0};
    if (equals == std::string::npos || text.rfind("model.", 0) != 0)
      throw InputError(at, "expected model.KEY=VALUE, e.g. model.attention.kv_heads=4");
    set_path(tree, text.substr(6, equals - 6), parse_yaml(text.substr(equals + 1), at.file), nullptr);
  }
  Model model;
  read_spec(tree, model);
  return model;
}

// "16-31" -> layers 16 to 31, both included.
LayerRange stage_of(const std::string& text, const Model& model) {
  if (text.empty()) return {};
  LayerRange range;
  std::int64_t last = -1;
  const char* end = text.data() + text.size();
  const auto a = std::from_chars(text.data(), end, range.first);
  if (a.ec == std::errc{} && a.ptr != end && *a.ptr == '-') {
    const auto b = std::from_chars(a.ptr + 1, end, last);
    if (b.ec != std::errc{} || b.ptr != end) last = -1;
  }
  if (range.first < 0 || last < range.first || last >= model.layers)
    throw InputError(fmt::format(
        "--layers: '{}' is not valid, expected FIRST-LAST with 0 <= FIRST <= LAST < {}", text, model.layers));
  range.count = last - range.first + 1;
  return range;
}

int explain_kv_command(const ExplainOptions& options) {
  const Model model = model_of(options);
  if (!options.compare.empty()) return explain_kv_compare(options, model);
  const KvExplanation e =
      explain_kv(model, resolve_kv_precision(model, options.kv_dtype),
                 parse_tokens(options.context, "--context"), options.tp, stage_of(options.layers, model));
  for (const std::string& warning : e.warnings) fmt::print(stderr, "warning: {}\n", warning);
  if (!options.json) {
    fmt::print("{}", to_text(e));
    return kOk;
  }
  nlohmann::ordered_json groups = nlohmann::ordered_json::array();
  for (const KvExplanation::Group& g : e.per_group)
    groups.push_back({{"name", g.name},
                      {"retention", g.retention},
                      {"window", g.window},
                      {"sinks", g.sinks},
                      {"stride", g.stride},
                      {"reach", g.reach},
                      {"entries_formula", g.retention_formula},
                      {"effective_bits", g.effective_bits},
                      {"layers_copied", g.layers_copied},
                      {"layers_held", g.layers_held},
                      {"layers_read", g.layers_read},
                      {"entry_bytes", g.entry_bytes},
                      {"entry_formula", g.entry_formula},
                      {"bytes_per_token", g.bytes_per_token},
                      {"tokens_held", g.tokens_held},
                      {"bytes_at_context", g.bytes_at_context},
                      {"decode_read_bytes", g.decode_read_bytes},
                      {"decode_write_bytes", g.decode_write_bytes},
                      {"numbers_converted", g.numbers_converted},
                      {"state_bytes", g.state_bytes}});
  const nlohmann::ordered_json out{{"model", e.model},
                                   {"source", e.source},
                                   {"kv_dtype", e.kv_dtype},
                                   {"tp", e.tp},
                                   {"context", e.context},
                                   {"bytes_per_token", e.bytes_per_token},
                                   {"unbounded_bytes_per_token", e.unbounded_bytes_per_token},
                                   {"bytes_at_context", e.bytes_at_context},
                                   {"decode_read_bytes", e.decode_read_bytes},
                                   {"decode_write_bytes", e.decode_write_bytes},
                                   {"numbers_converted", e.numbers_converted},
                                   {"residual_bytes", e.residual_bytes},
                                   {"kept",
                                    {{"exact_in_every_layer", e.kept.exact_in_every_layer},
                                     {"layers_that_see_all", e.kept.layers_that_see_all},
                                     {"fewest_bits", e.kept.fewest_bits}}},
                                   {"state_bytes", e.state_bytes},
                                   {"per_group", groups},
                                   {"formula", e.formula},
                                   {"warnings", e.warnings}};
  fmt::print("{}\n", out.dump(2));
  return kOk;
}

int explain_capacity_command(const ExplainOptions& options) {
  if (options.gpu.empty()) throw InputError("explain capacity: --gpu is missing, expected a GPU name");
  const Model model = model_of(options);
  const Gpu gpu = load_gpu(options.gpu);
  const EngineProfile engine = load_engine_profile(kDefaultEngineProfile);
  Parallel parallel;
  parallel.tp = options.tp;
  const RankModel rank = partition(model, parallel, resolve_kv_precision(model, options.kv_dtype));
  StepLimits limits;
  limits.max_batched_tokens = engine.default_max_num_batched_tokens;
  limits.max_num_seqs = engine.default_max_num_seqs;
  limits.block_tokens = engine.block_tokens;
  const CapacityBreakdown c =
      derive_kv_capacity(rank, gpu.memory_bytes, options.utilization, engine.memory, limits);
  if (!options.json) {
    fmt::print("KV capacity of {} on {} (rank of tp {}, {} rule)\n{}", model.name, gpu.name, options.tp,
               engine.name, to_text(c));
    return kOk;
  }
  const nlohmann::ordered_json out{{"blocks", c.blocks},
                                   {"blocks_low", c.blocks_low},
                                   {"blocks_high", c.blocks_high},
                                   {"block_tokens", c.block_tokens},
                                   {"block_bytes", c.block_bytes},
                                   {"total_bytes", c.total_bytes},
                                   {"utilisation", c.utilisation},
                                   {"weight_bytes", c.weight_bytes},
                                   {"buffer_bytes", c.buffer_bytes},
                                   {"activation_bytes", c.activation_bytes},
                                   {"nontorch_bytes", c.nontorch_bytes},
                                   {"state_bytes", c.state_bytes},
                                   {"kv_bytes", c.kv_bytes}};
  fmt::print("{}\n", out.dump(2));
  return kOk;
}

}  // namespace

int explain_command(const ExplainOptions& options) {
  if (options.what == "kv-claims") return explain_kv_claims(options);
  if (options.model.empty())
    throw InputError("explain " + options.what + ": --model is missing, expected a model name or file");
  if (options.what == "kv") return explain_kv_command(options);
  if (options.what == "capacity") return explain_capacity_command(options);
  if (options.what == "cascade") return explain_cascade(options, model_of(options));
  if (options.what == "tier") return explain_tier(options, model_of(options));
  if (options.what == "swap") return explain_swap(options, model_of(options));
  const std::vector<std::string> known{"kv", "capacity", "cascade", "kv-claims", "tier", "swap"};
  throw InputError(fmt::format("explain: '{}' is not known, expected one of {}{}", options.what,
                               join(known, ", "), did_you_mean(options.what, known)));
}

}  // namespace tessera
