// Real vLLM 0.19 runs of Llama-3.1-8B under a burst of 300 ShareGPT requests (LLMServingSim's repository,
// MIT). Errors are of means, against the engine's own stamps: TTFT and latency count from `queued_s`.
#include <fmt/format.h>

#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using test::mean;
using test::shared_data;

struct Errors {
  double tpot, latency, ttft;  // percent, signed
};

struct Played {
  RunResult result;
  std::vector<RequestRecord> records;
  std::vector<StepRecord> steps;
};

Played play(const std::string& card, const std::string& folder, const std::string& more) {
  const std::string base = "e2e/llmservingsim/" + folder;
  const std::string text = fmt::format(
      "gpu: {}\nmodel: llama-3.1-8b\nengine: {{profile: vllm-0.19, max_num_seqs: {}, max_num_batched_tokens: "
      "2048}}\n{}",
      card, folder.starts_with("RTX4090") ? 256 : 128, more);
  const std::string path = test::scratch(folder + ".yaml");
  std::ofstream(path) << text;
  const RunConfig config = load_run_config(path, {}, shared_data(base + "/workload.csv.gz"));
  Played played;
  RunHooks hooks;
  hooks.on_request = [&](const RequestRecord& record, std::string_view) { played.records.push_back(record); };
  hooks.on_step = [&](const StepRecord& step) { played.steps.push_back(step); };
  played.result = simulate(config, hooks);
  return played;
}

Errors errors_of(const Played& played, const std::string& folder) {
  const auto measured = test::read_columns(shared_data("e2e/llmservingsim/" + folder + "/requests.csv"));
  std::vector<double> ttft, tpot, latency;
  for (const RequestRecord& r : played.records) {
    ttft.push_back(static_cast<double>(r.first_token_ps - r.queued_ps) * 1e-9);
    latency.push_back(static_cast<double>(r.finish_ps - r.queued_ps) * 1e-9);
    if (r.output_tokens > 1)
      tpot.push_back(static_cast<double>(r.finish_ps - r.first_token_ps) * 1e-9 / (r.output_tokens - 1));
  }
  const auto error = [&](const std::vector<double>& ours, const char* column) {
    return 100 * (mean(ours) / mean(measured.at(column)) - 1);
  };
  const Errors e{error(tpot, "tpot_ms"), error(latency, "latency_ms"), error(ttft, "ttft_ms")};
  std::printf(
      "[ measured ] %s: TPOT %+.1f %%, latency %+.1f %%, TTFT %+.1f %%, %lld blocks, %lld preemptions\n",
      folder.c_str(), e.tpot, e.latency, e.ttft, static_cast<long long>(played.result.kv_blocks),
      static_cast<long long>(played.result.metrics.preemptions));
  return e;
}

constexpr const char* k4090 = "RTX4090_Llama-3.1-8B";
constexpr const char* kPro = "RTXPRO6000_Llama-3.1-8B";

// The scheduler on its own: operator times and KV blocks as measured on the card, nothing fitted.
Played play_4090_from_its_profile() {
  const std::string p = shared_data("e2e/llmservingsim/profiles/RTX4090_Llama-3.1-8B/");
  return play("rtx-4090", k4090,
              fmt::format("memory: {{kv_blocks: 2588}}\ncost: {{source: table, tables: [{0}tp1_dense.csv.gz, "
                          "{0}tp1_attention.csv.gz, "
                          "{0}tp1_per_sequence.csv.gz]}}\n",
                          p));
}

TEST(VllmRuns, TheSchedulerWithTheCardsOwnLayerTimesIsWithinOnePercent) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTX4090_Llama-3.1-8B/requests.csv");
  const Played played = play_4090_from_its_profile();
  const Errors e = errors_of(played, k4090);
  EXPECT_NEAR(e.latency, 0, 1);
  EXPECT_NEAR(e.tpot, 0, 1);
  EXPECT_NEAR(e.ttft, 0, 1);
  EXPECT_EQ(played.records.size(), 300u);
}

TEST(VllmRuns, RunningAndWaitingFollowTheEnginesOwnCurves) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTX4090_Llama-3.1-8B/timeseries.csv");
  const Played played = play_4090_from_its_profile();
  const auto seen =
      test::read_columns(shared_data(std::string("e2e/llmservingsim/") + k4090 + "/timeseries.csv"));
  double running = 0, waiting = 0;
  for (std::size_t i = 0; i < seen.at("t").size(); ++i) {
    const auto now = static_cast<std::int64_t>(seen.at("t")[i] * 1e12);
    double r = 0, w = 0;
    for (const StepRecord& step : played.steps) {
      if (step.start_ps > now) break;
      const bool over = step.end_ps < now && &step == &played.steps.back();
      r = over ? 0 : static_cast<double>(step.running), w = over ? 0 : static_cast<double>(step.waiting);
    }
    running += std::pow(r - seen.at("running")[i], 2);
    waiting += std::pow(w - seen.at("waiting")[i], 2);
  }
  const auto ticks = static_cast<double>(seen.at("t").size());
  std::printf("[ measured ] rms error: running %.2f, waiting %.2f requests\n", std::sqrt(running / ticks),
              std::sqrt(waiting / ticks));
  EXPECT_LT(std::sqrt(running / ticks), 3);
  EXPECT_LT(std::sqrt(waiting / ticks), 3);
}

TEST(VllmRuns, RtxPro6000FromItsKernelTables) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTXPRO6000_Llama-3.1-8B/requests.csv");
  TESSERA_NEED_DATA("silicon/aic/rtx_pro_6000_server_vllm-0.24.0_gemm.csv.gz");
  const std::string t = shared_data("silicon/aic/rtx_pro_6000_server_vllm-0.24.0_");
  const Errors e =
      errors_of(play("rtx-pro-6000", kPro,
                     fmt::format("cost: {{source: table, tables: [{0}gemm.csv.gz, "
                                 "{0}generation_attention.csv.gz, {0}context_attention.csv.gz]}}\n",
                                 t)),
                kPro);
  EXPECT_NEAR(e.tpot, 0, 4);
  EXPECT_NEAR(e.latency, 0, 6);
  EXPECT_NEAR(e.ttft, 0, 12);
}

TEST(VllmRuns, RtxPro6000FromTheClosedFormsFittedToItsKernelTables) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTXPRO6000_Llama-3.1-8B/requests.csv");
  const Errors e = errors_of(play("rtx-pro-6000", kPro, ""), kPro);
  EXPECT_NEAR(e.tpot, 0, 4);
  EXPECT_NEAR(e.latency, 0, 6);
  EXPECT_NEAR(e.ttft, 0, 12);
}

// The kernels simulated CTA by CTA instead.
TEST(VllmRuns, RtxPro6000AtTileGrain) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTXPRO6000_Llama-3.1-8B/requests.csv");
  const Errors e = errors_of(play("rtx-pro-6000", kPro, "cost: {source: tile}\n"), kPro);
  EXPECT_NEAR(e.tpot, 0, 4);
  EXPECT_NEAR(e.latency, 0, 6);
  EXPECT_NEAR(e.ttft, 0, 12);
}

TEST(VllmRuns, Rtx4090AtTileGrain) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTX4090_Llama-3.1-8B/requests.csv");
  const Errors e = errors_of(play("rtx-4090", k4090, "cost: {source: tile}\n"), k4090);
  EXPECT_NEAR(e.tpot, 0, 6);
  EXPECT_NEAR(e.latency, 0, 8);
  EXPECT_NEAR(e.ttft, 0, 10);
}

TEST(VllmRuns, Rtx4090FromTheL40sAndItsOwnPublishedNumbers) {
  TESSERA_NEED_DATA("e2e/llmservingsim/RTX4090_Llama-3.1-8B/requests.csv");
  const Played played = play("rtx-4090", k4090, "");
  const Errors e = errors_of(played, k4090);
  EXPECT_NEAR(e.tpot, 0, 6);
  EXPECT_NEAR(e.latency, 0, 8);
  EXPECT_NEAR(e.ttft, 0, 10);
  EXPECT_NEAR(static_cast<double>(played.result.kv_blocks), 2588, 0.05 * 2588) << "derived before comparing";
}

}  // namespace
}  // namespace tessera
