// Two real runs of vLLM 0.19 serving Llama-3.1-8B under a burst of 300 ShareGPT requests (LLMServingSim's
// repository @ 5daddb2, MIT), each played with the operator times at hand. Nothing is fitted on them; the
// README says what was changed after their errors were seen. TTFT and latency count from the engine's own
// `queued` stamp.
#include <fmt/format.h>

#include "models/base/yaml.hpp"
#include "traces/csv.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {
namespace {

struct Card {
  const char* folder;
  const char* gpu;
  std::int64_t max_num_seqs;
};

std::map<std::string, double> means(const std::string& file) {
  CsvTable csv({file, std::nullopt}, {"ttft_ms", "tpot_ms", "latency_ms"});
  double ttft = 0, tpot = 0, latency = 0, rows = 0;
  while (csv.next()) ttft += csv.decimal(0), tpot += csv.decimal(1), latency += csv.decimal(2), ++rows;
  if (rows == 0) throw InputError({file, 1, 0}, "holds no requests");
  return {{"ttft", ttft / rows}, {"tpot", tpot / rows}, {"latency", latency / rows}};
}

}  // namespace

RunSet read_llmservingsim(const std::string& data) {
  RunSet set;
  set.name = "llmservingsim";
  set.about =
      "vLLM 0.19.0, Llama-3.1-8B, 300 ShareGPT requests (casys-kaist/LLMServingSim @ 5daddb2, MIT); nothing "
      "fitted";
  ConfigShelf shelf;
  const auto add = [&](const Card& card, const char* times, std::vector<std::string> tables,
                       std::optional<std::int64_t> blocks) {
    const std::string folder = data + "/e2e/llmservingsim/" + card.folder;
    MeasuredRun run;
    run.id = fmt::format("{}, {}", card.folder, times);
    run.config = shelf.config(card.gpu, "llama-3.1-8b", "vllm-0.19");
    run.config.name = run.id;
    run.config.engine.max_num_seqs = card.max_num_seqs;
    run.config.engine.max_num_batched_tokens = 2048;
    run.config.memory.kv_blocks = blocks;
    run.config.trace.file = folder + "/workload.csv.gz";
    if (!tables.empty()) run.config.cost = {"table", std::move(tables)};
    run.from_queue = true;
    run.measured_ms = means(folder + "/requests.csv");
    run.labels = {{"engine", "vLLM 0.19.0"}, {"gpu", card.gpu}, {"times", times}};
    set.runs.push_back(std::move(run));
  };
  const Card rtx4090{"RTX4090_Llama-3.1-8B", "rtx-4090", 256},
      pro{"RTXPRO6000_Llama-3.1-8B", "rtx-pro-6000", 128};
  const std::string profile = data + "/e2e/llmservingsim/profiles/RTX4090_Llama-3.1-8B/tp1_";
  const std::string table = data + "/silicon/aic/rtx_pro_6000_server_vllm-0.24.0_";
  add(rtx4090, "its own layer profile, blocks given",
      {profile + "dense.csv.gz", profile + "attention.csv.gz", profile + "per_sequence.csv.gz"}, 2588);
  add(pro, "its kernel tables",
      {table + "gemm.csv.gz", table + "generation_attention.csv.gz", table + "context_attention.csv.gz"}, {});
  add(pro, "closed forms", {}, {});
  add(rtx4090, "closed forms of the L40S, rescaled", {}, {});
  return set;
}

}  // namespace tessera
