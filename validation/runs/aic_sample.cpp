// The closed-loop benchmarks collected by AIConfigurator (ai-dynamo/aiconfigurator @ 095f58a, Apache-2.0):
// mean TPOT at a fixed concurrency. The file does not say how many prompts a client sent, how they started,
// or whether speculation was on, and equal configurations repeat with up to 20 % scatter; its TTFT is no
// test.
//
// Played as `concurrency` clients that send 10 equal requests each and start together. Decided from the row
// alone, before any prediction:
//   played: rows of one server (mode agg) without attention data parallelism, of models configs/models
//     describes, with a stated concurrency; experts are split as moe_ep_size says;
//   left out: the vLLM rows of nvidia/Llama-3.1-8B-Instruct-FP8, whose prompts were in the prefix cache (72
//   ms
//     to the first token with 112 clients of 1,000 tokens), and repeats of a row already read;
//   weights as gemm_quant_mode and moe_quant_mode say; KV cache in fp8 for TensorRT-LLM's per-tensor fp8
//     checkpoints (Qwen3-32B on one H100 begins to queue at 290,000 tokens, twice what bf16 holds), else
//     bf16;
//   engine limits are the defaults of the profile. vllm-0.12's budget of 2,048 tokens was read off these
//   rows'
//     TTFT (154 ms with 8 clients of 1,024 tokens; a budget of 8,192 runs all their prompts in one step).
// Host times may be fitted on the half of the dense models' configurations whose hash says so (is_held_out):
// what the host does depends little on the model, while kernels of experts in fp8 and MXFP4 are less well
// known. That models with experts are not fitted on was decided after a first look at their errors.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "traces/csv.hpp"
#include "validation/measurement.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {
namespace {

struct Described {
  std::string_view path;
  const char* model;
};
constexpr Described kModels[] = {
    {"meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"},
    {"Qwen/Qwen3-32B", "qwen3-32b"},
    {"Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"},
    {"deepseek-ai/DeepSeek-V3", "deepseek-v3"},
    {"deepseek-ai/DeepSeek-R1", "deepseek-r1"},
    {"openai/gpt-oss-120b", "gpt-oss-120b"},
    {"zhipuai/GLM-5", "glm-5"},
};

struct Backend {
  std::string_view name;
  const char* title;
  const char* profile;
};
constexpr Backend kBackends[] = {{"vllm", "vLLM", "vllm-0.12"},
                                 {"sglang", "SGLang", "sglang-0.5"},
                                 {"trtllm", "TensorRT-LLM", "trtllm-1.0"}};

// vLLM schedules asynchronously by default since 0.14.
const char* profile_of(const Backend& backend, std::string_view version) {
  if (backend.name == "vllm" && (version.starts_with("0.16") || version.starts_with("0.18")))
    return "vllm-0.19";
  return backend.profile;
}

bool is_moe(std::string_view path) {
  return path.find("Llama") == std::string_view::npos && path.find("Qwen3-32B") == std::string_view::npos;
}

bool is_fp8(std::string_view mode) { return mode.starts_with("fp8"); }

enum Column {
  kBackend,
  kVersion,
  kModel,
  kSystem,
  kMode,
  kInput,
  kOutput,
  kGemm,
  kMoe,
  kTp,
  kDp,
  kMoeTp,
  kEp,
  kTpot,
  kConcurrency
};

// Why a row is not played; empty: it is.
std::string left_out(const CsvTable& csv) {
  if (csv.field(kMode) != "agg") return "disaggregated";
  if (csv.field(kModel) == "nvidia/Llama-3.1-8B-Instruct-FP8") return "prompts were in the prefix cache";
  if (std::none_of(std::begin(kModels), std::end(kModels),
                   [&](const Described& m) { return m.path == csv.field(kModel); }))
    return "model not described: " + std::string(csv.field(kModel));
  if (!csv.field(kDp).empty() && csv.field(kDp) != "1") return "attention data parallelism";
  if (csv.field(kConcurrency).empty()) return "concurrency not stated";
  if (csv.integer(kTp, 4096) > 8) return "more than one node";
  // Experts live on the ranks of the attention; more of them mean attention data parallelism.
  if (!csv.field(kMoe).empty() && is_moe(csv.field(kModel)) &&
      csv.integer(kMoeTp, 4096) * csv.integer(kEp, 4096) != csv.integer(kTp, 4096))
    return "attention data parallelism";
  return {};
}

}  // namespace

RunSet read_aic_sample(const std::string& data) {
  RunSet set;
  set.name = "aic";
  set.about =
      "closed-loop runs on H100 and H200 (ai-dynamo/aiconfigurator @ 095f58a, silicon_sample.csv, "
      "Apache-2.0); host "
      "times fitted on half of the dense models' configurations, by hash";
  CsvTable csv({data + "/e2e/aic_silicon_sample_h100_h200.csv.gz", std::nullopt},
               {"backend", "backend_version", "model_path", "system", "mode", "isl_tokens", "osl_tokens",
                "gemm_quant_mode", "moe_quant_mode", "tp_size", "attention_dp_size", "moe_tp_size",
                "moe_ep_size", "mean_tpot_ms", "concurrency"});
  ConfigShelf shelf;
  std::set<std::string> seen;
  while (csv.next()) {
    std::string reason = left_out(csv);
    std::string key;
    for (int column = kBackend; column <= kConcurrency; ++column)
      if (column != kTpot) key += fmt::format("{}|", csv.field(static_cast<std::size_t>(column)));
    if (reason.empty() && !seen.insert(key + std::string(csv.field(kTpot))).second)
      reason = "repeat of a row";
    const auto* backend = std::find_if(std::begin(kBackends), std::end(kBackends),
                                       [&](const Backend& b) { return b.name == csv.field(kBackend); });
    if (backend == std::end(kBackends)) reason = "engine not described";
    if (!reason.empty()) {
      ++set.left_out[reason];
      continue;
    }
    const auto* described = std::find_if(std::begin(kModels), std::end(kModels),
                                         [&](const Described& m) { return m.path == csv.field(kModel); });
    const std::string_view gemm = csv.field(kGemm), moe = csv.field(kMoe);
    const auto tokens = [&](Column column) { return std::int64_t{csv.tokens(column)}; };
    MeasuredRun run;
    run.config = shelf.config(csv.field(kSystem) == "h200_sxm" ? "h200-sxm" : "h100-sxm", described->model,
                              profile_of(*backend, csv.field(kVersion)));
    PrecisionSpec& precision = run.config.model->precision;
    if (is_fp8(gemm)) precision.weights = "fp8";
    if (is_fp8(moe)) precision.experts = "fp8";
    run.config.parallel.tp = static_cast<std::int64_t>(csv.integer(kTp, 8));
    run.config.parallel.ep = csv.field(kEp).empty()
                                 ? 1
                                 : std::max<std::int64_t>(1, static_cast<std::int64_t>(csv.integer(kEp, 8)));
    run.config.memory.kv_dtype = backend->name == "trtllm" && gemm == "fp8" ? "fp8" : "auto";
    run.config.memory.prefix_cache = "off";
    ClosedLoopConfig& loop = run.config.trace.closed_loop.emplace();
    loop.concurrency = static_cast<std::int64_t>(csv.integer(kConcurrency, 65536));
    loop.input_tokens = tokens(kInput), loop.output_tokens = tokens(kOutput);
    run.id = fmt::format("{} {} {} {} {} tp{} ep{} {} + {} x {}", backend->title, csv.field(kVersion),
                         described->model, gemm.empty() ? "bf16" : gemm, run.config.gpu.name,
                         run.config.parallel.tp, run.config.parallel.ep, *loop.input_tokens,
                         *loop.output_tokens, loop.concurrency);
    run.config.name = run.id;
    run.measured_ms = {{"tpot", csv.decimal(kTpot)}};
    run.labels = {{"engine", backend->title},
                  {"profile", run.config.engine.profile.name},
                  {"model", fmt::format("{} {}, {} {}", described->model, gemm.empty() ? "bf16" : gemm,
                                        backend->title, csv.field(kVersion))},
                  {"tp", std::string(csv.field(kTp))},
                  {"workload", fmt::format("{} + {}", *loop.input_tokens, *loop.output_tokens)}};
    run.fitted = !is_moe(csv.field(kModel)) && !is_held_out(key);
    set.runs.push_back(std::move(run));
  }
  return set;
}

}  // namespace tessera
