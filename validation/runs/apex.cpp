// The runs of APEX+ (microsoft/apex_plus @ 8769096, MIT): vLLM 0.6.0, Llama-3.1-70B in bf16 on H100-SXM, the
// real requests at their real arrival times with the number of tokens really generated.
//
// Played with gpu-memory-utilization 0.97, chunked prefill in a budget of 512 tokens (what that release
// chooses for contexts beyond 32k), no prefix cache, and one engine per file: data-parallel replicas have
// files of their own. TPOT comes from the server's counters, so it is a mean over tokens. The first request
// of each run is cut off in its log and so missing here. Flagged runs are left out.
// Host times of vllm-0.6 may be fitted on the chat runs (lmsys); creation and summarization are held out.
#include <fmt/format.h>

#include "models/base/error.hpp"
#include "traces/csv.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {
namespace {

// The requests of every run, as our own CSV.
std::map<std::string, std::string> requests_by_run(const std::string& file) {
  CsvTable csv({file, std::nullopt}, {"run", "arrival_s", "input_tokens", "output_tokens_actual"});
  std::map<std::string, std::string> texts;
  while (csv.next()) {
    std::string& text = texts[std::string(csv.field(0))];
    if (text.empty()) text = "request_id,arrival_s,input_tokens,output_tokens\n";
    static_cast<void>(csv.duration(1)), static_cast<void>(csv.tokens(2)), static_cast<void>(csv.tokens(3));
    text += fmt::format("{},{},{},{}\n", text.size(), csv.field(1), csv.field(2), csv.field(3));
  }
  return texts;
}

// "llama_summarization_025_validation_2DP4TP_0" -> "summarization"
std::string workload_of(const std::string& run) {
  for (const char* name : {"creation", "lmsys", "summarization"})
    if (run.find(name) != std::string::npos) return name;
  return "other";
}

}  // namespace

RunSet read_apex(const std::string& data) {
  RunSet set;
  set.name = "apex";
  set.about =
      "vLLM 0.6.0, Llama-3.1-70B, H100-SXM (microsoft/apex_plus @ 8769096, MIT); host times fitted on the "
      "lmsys runs";
  const std::map<std::string, std::string> requests =
      requests_by_run(data + "/e2e/apex/llama3.1-70b_requests.csv.gz");
  CsvTable csv({data + "/e2e/apex/llama3.1-70b_results.csv", std::nullopt},
               {"run", "tp", "mean_ttft_s", "mean_tpot_s", "mean_latency_s", "flag"});
  ConfigShelf shelf;
  while (csv.next()) {
    if (!csv.field(5).empty()) {
      ++set.left_out[std::string(csv.field(5))];
      continue;
    }
    MeasuredRun run;
    run.id = csv.field(0);
    const auto trace = requests.find(run.id);
    if (trace == requests.end())
      throw csv.error(0, "no requests of this run in the requests file, expected some");
    run.requests = trace->second;
    run.config = shelf.config("h100-sxm", "llama-3.1-70b", "vllm-0.6");
    run.config.name = run.id;
    run.config.parallel.tp = static_cast<std::int64_t>(csv.integer(1, 8));
    run.config.engine.max_num_batched_tokens = 512;
    run.config.memory.gpu_memory_utilization = 0.97;
    run.config.memory.prefix_cache = "off";
    run.tpot_over_tokens = true;
    run.measured_ms = {
        {"ttft", csv.decimal(2) * 1e3}, {"tpot", csv.decimal(3) * 1e3}, {"latency", csv.decimal(4) * 1e3}};
    const std::string workload = workload_of(run.id);
    run.labels = {{"engine", "vLLM 0.6.0"}, {"workload", workload}, {"tp", std::string(csv.field(1))}};
    run.fitted = workload == "lmsys";
    set.runs.push_back(std::move(run));
  }
  return set;
}

}  // namespace tessera
