// What moved between tiers, as a section of summary.json and as lines for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "sim/serving/movement_report.hpp"

namespace tessera {

// Added to `out`: "tiers", "movement", and links under "bytes".
void put_movement(nlohmann::ordered_json& out, const MovementReport& report);

std::string movement_text(const MovementReport& report, std::int64_t block_tokens);

}  // namespace tessera
