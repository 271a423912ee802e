#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/serving/run_config.hpp"

namespace tessera {
namespace {

void print(const SchemaEntry& e) {
  fmt::print("{}\n  {}{}\n  type: {}", e.path, e.doc, e.unit.empty() ? "" : " (" + e.unit + ")", e.type);
  if (!e.options.empty()) fmt::print(" {}", join(e.options, " | "));
  if (!e.range.empty()) fmt::print(", {}", e.range);
  if (e.required)
    fmt::print(", required");
  else if (!e.default_value.empty())
    fmt::print(", default {}", e.default_value);
  fmt::print("\n");
}

}  // namespace

int config_schema_command(bool json) {
  const std::vector<SchemaEntry> schema = schema_of<RunConfig>();
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const SchemaEntry& e : schema) {
    if (!json) {
      print(e);
      continue;
    }
    rows.push_back({{"key", e.path},
                    {"type", e.type},
                    {"default", e.default_value},
                    {"unit", e.unit},
                    {"range", e.range},
                    {"options", e.options},
                    {"doc", e.doc},
                    {"required", e.required}});
  }
  if (json) fmt::print("{}\n", rows.dump(2));
  return kOk;
}

int config_explain_command(const std::string& key) {
  const std::vector<SchemaEntry> schema = schema_of<RunConfig>();
  std::vector<std::string> names;
  bool found = false;
  for (const SchemaEntry& e : schema) {
    names.push_back(e.path);
    if (e.path != key && e.path.rfind(key + ".", 0) != 0) continue;
    found = true;
    print(e);
  }
  if (!found)
    throw InputError(fmt::format("config explain: '{}' is not a key{}", key, did_you_mean(key, names)));
  return kOk;
}

}  // namespace tessera
