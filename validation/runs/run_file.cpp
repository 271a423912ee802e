// A user's own measured runs, one a line: what was served, how, and the means that were measured.
//
// Columns: run,gpu,model,profile, then as needed: tp,ep,weights (bf16 | fp8),kv_dtype,max_num_seqs,
// max_num_batched_tokens,gpu_memory_utilization; the requests as trace (a file beside this one) or as
// concurrency,input_tokens,output_tokens[,requests]; and what was measured: mean_ttft_ms, mean_tpot_ms,
// mean_latency_ms, at least one. An empty cell is not given. A non-empty `flag` leaves a run out.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/transformer/kv_precision.hpp"
#include "traces/csv.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {
namespace {

enum Column {
  kRun,
  kGpu,
  kModel,
  kProfile,  // required
  kTp,
  kEp,
  kWeights,
  kKv,
  kSeqs,
  kTokens,
  kUtilization,
  kTrace,
  kConcurrency,
  kInput,
  kOutput,
  kRequests,
  kTtft,
  kTpot,
  kLatency,
  kFlag
};

class RunRow {
 public:
  explicit RunRow(const CsvTable& csv) : csv_(csv) {}
  [[nodiscard]] bool given(Column column) const { return csv_.has(column) && !csv_.field(column).empty(); }
  [[nodiscard]] std::string text(Column column) const {
    return given(column) ? std::string(csv_.field(column)) : "";
  }
  [[nodiscard]] std::optional<std::int64_t> count(Column column, std::uint64_t most) const {
    if (!given(column)) return {};
    const std::uint64_t value = csv_.integer(column, most);
    if (value == 0) throw csv_.error(column, "0, expected at least 1");
    return static_cast<std::int64_t>(value);
  }

 private:
  const CsvTable& csv_;
};

MeasuredRun run_of(const CsvTable& csv, const std::string& folder, ConfigShelf& shelf) {
  const RunRow row(csv);
  MeasuredRun run;
  run.id = row.text(kRun);
  try {
    run.config = shelf.config(row.text(kGpu), row.text(kModel), row.text(kProfile));
  } catch (const InputError& error) {
    throw InputError(csv.at(), error.what());
  }
  RunConfig& config = run.config;
  config.name = run.id;
  config.parallel.tp = row.count(kTp, 1024).value_or(1);
  config.parallel.ep = row.count(kEp, 1024).value_or(1);
  if (const std::string weights = row.text(kWeights); weights == "fp8") {
    config.model->precision.weights = config.model->precision.experts = "fp8";
  } else if (!weights.empty() && weights != "bf16") {
    throw csv.error(kWeights, "'" + weights + "', expected bf16 or fp8");
  }
  if (row.given(kKv)) {
    config.memory.kv_dtype = row.text(kKv);
    const std::vector<std::string> formats = kv_format_names();
    if (std::find(formats.begin(), formats.end(), config.memory.kv_dtype) == formats.end())
      throw csv.error(kKv, fmt::format("'{}', expected one of {}{}", config.memory.kv_dtype,
                                       join(formats, ", "), did_you_mean(config.memory.kv_dtype, formats)));
  }
  config.engine.max_num_seqs = row.count(kSeqs, 65536);
  config.engine.max_num_batched_tokens = row.count(kTokens, 4194304);
  if (config.engine.max_num_seqs.value_or(0) > config.engine.max_num_batched_tokens.value_or(4194304))
    throw csv.error(kTokens, "'" + row.text(kTokens) + "', expected at least max_num_seqs");
  if (row.given(kUtilization)) {
    config.memory.gpu_memory_utilization = csv.decimal(kUtilization);
    if (!(config.memory.gpu_memory_utilization >= 0.01 && config.memory.gpu_memory_utilization <= 1))
      throw csv.error(kUtilization, "'" + row.text(kUtilization) + "', expected 0.01 to 1");
  }
  if (row.given(kConcurrency)) {
    ClosedLoopConfig& loop = config.trace.closed_loop.emplace();
    loop.concurrency = *row.count(kConcurrency, 1'000'000);
    loop.input_tokens = row.count(kInput, kMaxTokens), loop.output_tokens = row.count(kOutput, kMaxTokens);
    loop.requests = row.count(kRequests, 1'000'000'000);
  }
  if (row.given(kTrace)) config.trace.file = (std::filesystem::path(folder) / row.text(kTrace)).string();
  try {
    if (config.trace.closed_loop) config.trace.closed_loop->check_lengths(row.given(kTrace));
  } catch (const InputError& error) {
    throw InputError(csv.at(), error.what());
  }
  if (!config.trace.closed_loop && config.trace.file.empty())
    throw InputError(csv.at(), "no requests, expected a cell under trace, or concurrency with lengths");
  constexpr std::array<std::pair<Column, const char*>, 3> kMetrics{
      {{kTtft, "ttft"}, {kTpot, "tpot"}, {kLatency, "latency"}}};
  for (const auto& [column, metric] : kMetrics)
    if (row.given(column)) {
      run.measured_ms[metric] = csv.decimal(column);
      if (!(run.measured_ms[metric] > 0)) throw csv.error(column, "0, expected more");
    }
  if (run.measured_ms.empty())
    throw InputError(csv.at(), "nothing measured, expected mean_ttft_ms, mean_tpot_ms or mean_latency_ms");
  run.labels = {{"engine", row.text(kProfile)},
                {"model", row.text(kModel)},
                {"tp", std::to_string(config.parallel.tp)}};
  return run;
}

}  // namespace

RunSet read_run_file(const Source& source) {
  const std::string& file = source.name;
  CsvTable csv(source, {"run", "gpu", "model", "profile"},
               {"tp", "ep", "weights", "kv_dtype", "max_num_seqs", "max_num_batched_tokens",
                "gpu_memory_utilization", "trace", "concurrency", "input_tokens", "output_tokens", "requests",
                "mean_ttft_ms", "mean_tpot_ms", "mean_latency_ms", "flag"});
  RunSet set;
  set.name = std::filesystem::path(file).filename().string();
  set.about = "nothing fitted";
  ConfigShelf shelf;
  const std::string folder = std::filesystem::path(file).parent_path().string();
  while (csv.next()) {
    if (csv.has(kFlag) && !csv.field(kFlag).empty()) {
      ++set.left_out[std::string(csv.field(kFlag))];
      continue;
    }
    set.runs.push_back(run_of(csv, folder, shelf));
  }
  return set;
}

RunSet read_run_file(const std::string& file) { return read_run_file(Source{file, std::nullopt}); }

}  // namespace tessera
