#include "sim/report/manifest.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

namespace tessera {
namespace {

// 64-bit FNV-1a: tells files apart, no protection against forgery.
struct Fnv {
  std::uint64_t value = 0xcbf29ce484222325;
  void add(std::string_view bytes) {
    for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
};

nlohmann::ordered_json file_entry(const std::string& path) {
  Fnv hash;
  std::ifstream in(path, std::ios::binary);
  std::string buffer(1 << 16, '\0');
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
    hash.add({buffer.data(), static_cast<std::size_t>(in.gcount())});
  std::error_code ignored;
  return {{"file", path},
          {"bytes", std::filesystem::file_size(path, ignored)},
          {"fnv1a64", fmt::format("{:016x}", hash.value)}};
}

}  // namespace

std::string manifest_json(const RunConfig& config, const std::string& config_path) {
  Fnv resolved;
  resolved.add(emit_yaml(to_yaml(config)));
  nlohmann::ordered_json out;
  out["program"] = "tessera " TESSERA_VERSION;
  out["config"] = file_entry(config_path);
  out["resolved_fnv1a64"] = fmt::format("{:016x}", resolved.value);
  out["trace"] = config.trace.file.empty() ? nlohmann::ordered_json() : file_entry(config.trace.file);
  out["tables"] = nlohmann::ordered_json::array();
  for (const std::string& table : config.cost.tables) out["tables"].push_back(file_entry(table));
  out["seed"] = config.seed;
  out["again"] = "tessera run resolved.yaml";
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace tessera
