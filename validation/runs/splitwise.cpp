// Splitwise's measurements on DGX-A100 (Mutinifni/splitwise-sim @ 8f99e7d, MIT): static batches of equal
// requests, a framework of 2023. Five repeats of a point, averaged here.
//
// Played as a batch that arrives at once and whose prompts run in one step, on vllm-0.6, the oldest engine
// described, with nothing fitted: its errors include what frameworks gained in a year.
// Left out: BLOOM-176B, which configs/models does not describe.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "traces/csv.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {

RunSet read_splitwise(const std::string& data) {
  RunSet set;
  set.name = "splitwise";
  set.about =
      "static batches, Llama-2-70B, DGX-A100 80 GB, 2023 (Mutinifni/splitwise-sim @ 8f99e7d, MIT); nothing "
      "fitted";
  CsvTable csv({data + "/e2e/splitwise_perf_model_a100.csv", std::nullopt},
               {"model", "prompt_size", "batch_size", "token_size", "tensor_parallel", "prompt_time_ms",
                "token_time_ms"});
  struct Sum {
    double prompt_ms = 0, token_ms = 0;
    int rows = 0;
  };
  std::map<std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t>, Sum> points;
  while (csv.next()) {
    if (csv.field(0) != "llama2-70b") {
      ++set.left_out["model not described: " + std::string(csv.field(0))];
      continue;
    }
    Sum& sum = points[{static_cast<std::int32_t>(csv.integer(4, 8)), csv.tokens(1),
                       static_cast<std::int32_t>(csv.integer(2, 4096)), csv.tokens(3)}];
    sum.prompt_ms += csv.decimal(5), sum.token_ms += csv.decimal(6), ++sum.rows;
  }
  ConfigShelf shelf;
  for (const auto& [point, sum] : points) {
    const auto& [tp, prompt, batch, tokens] = point;
    MeasuredRun run;
    run.id = fmt::format("tp{} {} x {} + {}", tp, batch, prompt, tokens);
    run.config = shelf.config("a100-sxm-80g", "llama-2-70b", "vllm-0.6");
    run.config.name = run.id;
    run.config.parallel.tp = tp;
    run.config.engine.max_num_seqs = batch;
    run.config.engine.max_num_batched_tokens = std::max(512, batch * prompt);
    run.requests = "request_id,arrival_s,input_tokens,output_tokens\n";
    for (int i = 0; i < batch; ++i) run.requests += fmt::format("{},0,{},{}\n", i, prompt, tokens);
    run.measured_ms = {{"ttft", sum.prompt_ms / sum.rows}, {"tpot", sum.token_ms / sum.rows}};
    run.labels = {{"engine", "2023 framework"},
                  {"workload", fmt::format("batch {}", batch)},
                  {"tp", std::to_string(tp)}};
    set.runs.push_back(std::move(run));
  }
  return set;
}

}  // namespace tessera
