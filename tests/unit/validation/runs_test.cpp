// Measured serving runs: reading, playing, reporting, and fitting host times to them.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/base/error.hpp"
#include "models/base/yaml.hpp"
#include "tests/support/run_data.hpp"
#include "validation/runs/fit_host.hpp"
#include "validation/runs/report.hpp"

namespace tessera {
namespace {

std::string file_of(const std::string& text) {
  std::string path = test::scratch("runs.csv");
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

const std::string kHeader =
    "run,gpu,model,profile,tp,weights,concurrency,input_tokens,output_tokens,trace,mean_tpot_ms,mean_ttft_ms,"
    "flag\n";
const std::string kLimits =
    "run,gpu,model,profile,kv_dtype,max_num_seqs,max_num_batched_tokens,gpu_memory_utilization,trace,"
    "mean_tpot_ms\na,h100-sxm,llama-3.1-8b,ideal,";

std::string refusal(const std::string& text) {
  try {
    read_run_file(file_of(text));
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}
std::string problem(const std::string& rows) { return refusal(kHeader + rows); }

TEST(RunFile, ReadsClosedLoopsAndTraces) {
  const RunSet set =
      read_run_file(file_of(kHeader + "a,h100-sxm,llama-3.1-8b,vllm-0.12,2,fp8,16,100,20,,7.5,,\n"
                                      "b,h100-sxm,llama-3.1-8b,ideal,,,,,,t.csv,,30,\n"
                                      "c,h100-sxm,llama-3.1-8b,ideal,,,,,,t.csv,,30,broken\n"));
  ASSERT_EQ(set.runs.size(), 2u);
  EXPECT_EQ(set.left_out.at("broken"), 1u);
  EXPECT_EQ(set.runs[0].config.parallel.tp, 2);
  EXPECT_EQ(set.runs[0].config.model->precision.weights, "fp8");
  EXPECT_EQ(set.runs[0].config.trace.closed_loop->concurrency, 16);
  EXPECT_EQ(set.runs[0].measured_ms.at("tpot"), 7.5);
  EXPECT_EQ(set.runs[0].measured_ms.count("ttft"), 0u);
  EXPECT_TRUE(set.runs[1].config.trace.file.ends_with("/t.csv"));
}

TEST(RunFile, ErrorsNameTheFileTheLineAndWhatWasExpected) {
  for (const auto& [rows, words] : std::vector<std::pair<std::string, std::string>>{
           {"a,h100,llama-3.1-8b,ideal,,,4,5,5,,1,,\n", "did you mean 'h100-sxm'?"},
           {"a,h100-sxm,llama-3.1-8b,ideal,0,,4,5,5,,1,,\n", "0, expected at least 1"},
           {"a,h100-sxm,llama-3.1-8b,ideal,-2,,4,5,5,,1,,\n", "tp"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,int3,4,5,5,,1,,\n", "expected bf16 or fp8"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,,,,,1,,\n", "no requests"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,4,5,,,1,,\n", "output_tokens: missing"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,4,5,5,t.csv,1,,\n", "a file and lengths"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,4,5,5,,,,\n", "nothing measured"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,4,5,5,,nan,,\n", "mean_tpot_ms"},
           {"a,h100-sxm,llama-3.1-8b,ideal,1,,4,5,99999999999999999999,,1,,\n", "output_tokens"},
           {"a,h100-sxm\n", "runs.csv:2"}}) {
    const std::string message = problem(rows);
    EXPECT_NE(message.find(words), std::string::npos) << words << " in: " << message;
    EXPECT_NE(message.find("runs.csv:2"), std::string::npos) << message;
  }
  for (const auto& [limits, words] : std::vector<std::pair<std::string, std::string>>{
           {"fp7,,,,t.csv,1\n", "kv_dtype: 'fp7', expected one of auto"},
           {",64,32,,t.csv,1\n", "max_num_batched_tokens: '32', expected at least max_num_seqs"},
           {",,,0.001,t.csv,1\n", "gpu_memory_utilization: '0.001', expected 0.01 to 1"},
           {",,,,t.csv,0\n", "mean_tpot_ms: 0, expected more"}})
    EXPECT_NE(refusal(kLimits + limits).find("runs.csv:2: " + words), std::string::npos)
        << refusal(kLimits + limits);
  EXPECT_THROW(read_run_file(file_of("")), InputError);
  EXPECT_THROW(read_run_file(file_of("run,gpu\n")), InputError);
  EXPECT_THROW(report_runs(read_run_file(file_of(kHeader)), {}), InputError);
}

TEST(RunSets, UnknownNamesSuggestOneThatIsThereAndNamedSetsNeedTheirData) {
  try {
    read_runs("apx", "");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'apex'?"), std::string::npos) << error.what();
  }
  EXPECT_THROW(read_runs("apex", ""), InputError);
  EXPECT_THROW(read_runs("apex", "/nowhere"), InputError);
}

TEST(Play, TheSameFiguresOnOneThreadAndOnMany) {
  RunSet set =
      read_run_file(file_of(kHeader + "a,h100-sxm,llama-3.1-8b,vllm-0.12,1,,4,100,20,,7.5,50,\n"
                                      "b,h200-sxm,llama-3.1-8b,sglang-0.5,1,,8,50,10,,7.5,50,\n"
                                      "c,h100-sxm,llama-3.1-8b,trtllm-1.0,1,fp8,8,50,10,,7.5,50,\n"));
  const std::vector<PlayedRun> all = play(set.runs);
  for (std::size_t i = 0; i < set.runs.size(); ++i) {
    const PlayedRun alone = play(set.runs[i]);
    EXPECT_EQ(all[i].predicted_ms, alone.predicted_ms);
    EXPECT_GT(alone.predicted_ms.at("tpot"), 0);
    EXPECT_GT(alone.batch, 0);
  }
}

TEST(Play, AnErrorNamesItsRun) {
  RunSet set =
      read_run_file(file_of(kHeader + "too big,rtx-4090,llama-3.1-70b,ideal,1,,4,100,20,,7.5,50,\n"));
  try {
    play(set.runs);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("run 'too big'"), std::string::npos) << error.what();
  }
}

// Two runs fitted on, three held out, with errors chosen by hand.
RunSet by_hand(std::vector<PlayedRun>& played) {
  RunSet set;
  set.name = "toy";
  const auto add = [&](const char* id, double measured, double predicted, bool fitted, const char* engine) {
    MeasuredRun run;
    run.id = id;
    run.measured_ms["tpot"] = measured;
    run.labels["engine"] = engine;
    run.fitted = fitted;
    set.runs.push_back(run);
    played.push_back({.predicted_ms = {{"tpot", predicted}}});
  };
  add("a", 10, 10.5, true, "X");
  add("b", 10, 9.5, true, "Y");
  add("c", 10, 11, false, "X");  // +10 %
  add("d", 20, 16, false, "Y");  // -20 %
  add("e", 40, 42, false, "Y");  // +5 %
  return set;
}

TEST(RunsReport, SeparatesFittedFromHeldOutRuns) {
  std::vector<PlayedRun> played;
  const RunSet set = by_hand(played);
  const RunsReport report = report_runs(set, played, 2);
  const MetricReport& m = report.metrics.at("tpot");
  EXPECT_EQ(m.fitted.rows, 2u);
  EXPECT_NEAR(m.fitted.median_ape, 5, 1e-9);
  EXPECT_EQ(m.held_out.rows, 3u);
  EXPECT_NEAR(m.held_out.median_ape, 10, 1e-9);
  EXPECT_NEAR(m.held_out.mape, 35.0 / 3, 1e-9);
  EXPECT_NEAR(m.held_out.bias, -5.0 / 3, 1e-9);
  EXPECT_DOUBLE_EQ(m.held_out.rank_correlation, 1);
  EXPECT_NEAR(m.groups.at("engine=Y").bias, -7.5, 1e-9);
  ASSERT_EQ(m.worst.size(), 2u);
  EXPECT_EQ(m.worst[0].id, "d");
  EXPECT_EQ(m.worst[1].id, "c");
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["metrics"]["tpot"]["held_out"]["median_ape"], 10);
  EXPECT_EQ(json["metrics"]["tpot"]["worst"][0]["run"], "d");
  EXPECT_NE(to_text(report).find("-20.0 %  d"), std::string::npos);
}

TEST(RunsReport, AMeasuredZeroIsAnError) {
  std::vector<PlayedRun> played;
  RunSet set = by_hand(played);
  set.runs[2].measured_ms["tpot"] = 0;
  EXPECT_THROW(report_runs(set, played), InputError);
}

TEST(AccuracyRecord, ReplacesTheLinesOfItsSetAndKeepsTheOthers) {
  std::vector<PlayedRun> played;
  const RunSet set = by_hand(played);
  const RunsReport report = report_runs(set, played);
  const std::string first = updated_record("", report, "2026-11-28");
  EXPECT_TRUE(first.starts_with(kRecordHeader));
  EXPECT_NE(first.find("toy,all,tpot,held out,3,10.00,11.67,18.00,-1.67,1.000,2026-11-28\n"),
            std::string::npos)
      << first;
  EXPECT_EQ(updated_record(first, report, "2026-11-28"), first);
  const std::string other = first + "apex,all,tpot,held out,28,3.00,3.00,3.00,+0.00,,2026-11-01\n";
  const std::string updated = updated_record(other, report, "2026-11-29");
  EXPECT_NE(updated.find("apex,all,tpot,held out,28"), std::string::npos);
  EXPECT_EQ(updated.find("2026-11-28"), std::string::npos);
}

// Runs made by the simulator itself with host times we know.
RunSet synthetic(const std::string& profile, double base_us, double per_sequence_us, double per_tp_us) {
  std::string rows;
  for (const int tp : {1, 2, 4})
    for (const int clients : {1, 4, 16, 48})
      rows += "r" + std::to_string(rows.size()) + ",h100-sxm,llama-3.1-8b," + profile + "," +
              std::to_string(tp) + ",," + std::to_string(clients) + ",200,30,,1,,\n";
  RunSet set = read_run_file(file_of(kHeader + rows));
  RunSet truth = set;
  for (MeasuredRun& run : truth.runs) {
    EngineProfile& p = run.config.engine.profile.value;
    p.host_base_us = base_us, p.host_per_sequence_us = per_sequence_us, p.host_per_tp_us = per_tp_us;
  }
  const std::vector<PlayedRun> played = play(truth.runs);
  for (std::size_t i = 0; i < set.runs.size(); ++i) {
    set.runs[i].measured_ms["tpot"] = played[i].predicted_ms.at("tpot");
    set.runs[i].fitted = i % 3 != 0;
  }
  return set;
}

TEST(FitHostTimes, RecoversWhatTheRunsWereMadeWithAndPredictsTheHeldOutOnes) {
  RunSet set = synthetic("vllm-0.12", 1500, 40, 300);
  const std::vector<HostFit> fits = fit_host_times(set);
  ASSERT_EQ(fits.size(), 1u);
  EXPECT_EQ(fits[0].profile, "vllm-0.12");
  EXPECT_EQ(fits[0].runs, 8u);
  std::map<std::string, double> values(fits[0].values.begin(), fits[0].values.end());
  EXPECT_NEAR(values.at("host_base_us"), 1500, 30);
  EXPECT_NEAR(values.at("host_per_sequence_us"), 40, 2);
  EXPECT_NEAR(values.at("host_per_tp_us"), 300, 15);
  const RunsReport report = report_runs(set, play(set.runs));
  EXPECT_LT(report.metrics.at("tpot").held_out.p90_ape, 0.5);
}

TEST(FitHostTimes, RefusesTooFewRunsAndSetsThatMayNotBeFitted) {
  RunSet set = synthetic("vllm-0.12", 1500, 40, 300);
  for (std::size_t i = 0; i < set.runs.size(); ++i) set.runs[i].fitted = i < 3;
  EXPECT_THROW(fit_host_times(set), InputError);
  for (MeasuredRun& run : set.runs) run.fitted = false;
  EXPECT_THROW(fit_host_times(set), InputError);
}

TEST(FitHostTimes, WritesTheValuesIntoTheProfilesTextAndNothingElse) {
  const std::string yaml = "# a comment\nname: x\nhost_source: \"\"\nhost_base_us: 1\nother: 2 # kept\n";
  HostFit fit;
  fit.profile = "x";
  fit.values = {{"host_base_us", 1234.4}};
  EXPECT_EQ(with_host_times(yaml, fit, "these runs"),
            "# a comment\nname: x\nhost_source: \"these runs\"\nhost_base_us: 1234\nother: 2 # kept\n");
  fit.values.emplace_back("host_per_tp_us", 5);
  EXPECT_THROW(with_host_times(yaml, fit, "these runs"), InputError);
  for (const char* name : {"vllm-0.6", "vllm-0.12", "sglang-0.5", "trtllm-1.0"}) {
    fit.values = {{"host_base_us", 1}, {"host_per_sequence_us", 2}, {"host_per_tp_us", 3}};
    EXPECT_NO_THROW(with_host_times(read_file(config_root() + "/engines/" + name + ".yaml"), fit, "x"))
        << name;
  }
}

}  // namespace
}  // namespace tessera
