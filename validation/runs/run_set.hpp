// Measured serving runs, each with the simulation that plays it.
//
// A set is one public source read from its own files. What is left out and why, how a run is played (limits,
// number formats) and which runs its engine's host times may be fitted on is decided by the reader from the
// row alone, before any prediction; the head of each reader says how. Measured and predicted are means over
// the requests of a run, in ms: "ttft" and "latency" from the arrival at the server, "tpot" per request or,
// where a server's counters are the source, over all tokens.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "sim/serving/run_config.hpp"
#include "traces/byte_stream.hpp"

namespace tessera {

struct MeasuredRun {
  std::string id;
  RunConfig config;
  std::string requests;  // our CSV format; empty: config.trace says it all
  bool tpot_over_tokens = false;
  bool from_queue = false;                    // ttft and latency count from when the engine saw the request
  std::map<std::string, double> measured_ms;  // by metric
  std::map<std::string, std::string> labels;  // what errors are grouped by: engine, workload, tp, ..
  bool fitted = false;                        // its engine's host times were fitted on it
};

struct RunSet {
  std::string name;
  std::string about;  // the source, and what the host times were fitted on
  std::vector<MeasuredRun> runs;
  std::map<std::string, std::size_t> left_out;  // by reason
};

struct RunSource {
  const char* name;
  const char* doc;
  RunSet (*read)(const std::string& data);  // the folder of the data set, or a file
};
std::span<const RunSource> run_sources();

// A named source with its data folder, or a file of runs in our own format (run_file.cpp).
RunSet read_runs(const std::string& name_or_file, const std::string& data);

// Descriptions read once however many runs name them.
class ConfigShelf {
 public:
  RunConfig config(const std::string& gpu, const std::string& model, const std::string& profile);

 private:
  std::map<std::string, Gpu> gpus_;
  std::map<std::string, Model> models_;
  std::map<std::string, EngineProfile> profiles_;
};

RunSet read_apex(const std::string& data);
RunSet read_aic_sample(const std::string& data);
RunSet read_splitwise(const std::string& data);
RunSet read_llmservingsim(const std::string& data);
RunSet read_run_file(const Source& source);
RunSet read_run_file(const std::string& file);

}  // namespace tessera
