// manifest.json: what a result was made from, so that it can be made again.
#pragma once

#include <string>

#include "sim/serving/run_config.hpp"

namespace tessera {

std::string manifest_json(const RunConfig& config, const std::string& config_path);

}  // namespace tessera
