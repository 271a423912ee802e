// Any bytes as a file of measured runs: an InputError, or runs with something to play and to compare, each
// with a config that is as good as one read from YAML.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "models/base/spec.hpp"
#include "tests/fuzz/promise.hpp"
#include "validation/runs/run_set.hpp"

namespace {

constexpr const char* kHeader =
    "run,gpu,model,profile,tp,ep,weights,kv_dtype,max_num_seqs,max_num_batched_tokens,gpu_memory_utilization,"
    "trace,concurrency,input_tokens,output_tokens,requests,mean_ttft_ms,mean_tpot_ms,mean_latency_ms,flag\n";
constexpr std::size_t kMostRuns = 20;  // a config is written and read again for each

void check(const tessera::MeasuredRun& run) {
  using namespace tessera;
  promise(!run.measured_ms.empty());
  for (const auto& [metric, ms] : run.measured_ms) promise(ms > 0 && ms < 1e300);
  promise(run.config.trace.closed_loop.has_value() || !run.config.trace.file.empty());
  RunConfig config = run.config;
  config.name = config.trace.file = "any";  // bytes that YAML may not hold
  const std::string text = emit_yaml(to_yaml(config));
  RunConfig again;
  try {
    read_spec(parse_yaml(text, "again.yaml"), again);
  } catch (const InputError&) {
    promise(false);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  std::string text(reinterpret_cast<const char*>(data), size);
  // The first byte chooses whether the bytes are rows under a good header or the whole file.
  if (size > 0 && (data[0] & 1) != 0) text = kHeader + text.substr(1);
  if (text.find('/') != std::string::npos) return 0;  // names, not paths of this machine
  try {
    const RunSet set = read_run_file(Source{"fuzz.csv", text});
    for (std::size_t i = 0; i < set.runs.size() && i < kMostRuns; ++i) check(set.runs[i]);
  } catch (const InputError& error) {
    promise(std::string_view(error.what()).size() > 10);
  }
  return 0;
}
