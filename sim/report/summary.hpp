// summary.json: the key names of `vllm bench serve`, then memory, bytes, steps, calibration.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "sim/serving/simulate.hpp"

namespace tessera {

struct Volatile {  // the only figures that may differ between equal runs
  double wall_s = 0;
  std::int64_t peak_memory_bytes = 0;
};

std::string summary_json(const RunResult& result, const Volatile& machine);
// The summary a planner would paste in a mail.
std::string summary_text(const RunResult& result, const Volatile& machine, bool colour);

}  // namespace tessera
