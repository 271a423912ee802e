#include "validation/provenance.hpp"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <vector>

namespace tessera {
namespace {

constexpr const char* kComment = "  # ";

// Calls on_line(path, line) for every line of a file as emit_yaml writes it: "key: value" under keys indented
// by two spaces each.
void each_line(const std::string& text,
               const std::function<void(const std::string&, const std::string&)>& on_line) {
  std::vector<std::string> keys;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const std::size_t indent = line.find_first_not_of(' ');
    const std::size_t colon = line.find(':');
    std::string path;
    if (indent != std::string::npos && colon != std::string::npos) {
      keys.resize(std::min(keys.size(), indent / 2));
      keys.push_back(line.substr(indent, colon - indent));
      for (const std::string& key : keys) path += (path.empty() ? "" : ".") + key;
    }
    on_line(path, line);
  }
}

// A quoted text may hold the mark; figures are never quoted.
std::size_t comment_at(const std::string& line) {
  return line.find('"') == std::string::npos ? line.find(kComment) : std::string::npos;
}

}  // namespace

std::string comment_of(const FitRecord& r) {
  const char* how = r.how == "pair"    ? ", only together with another"
                    : r.how == "bound" ? ", held by the end of its range"
                    : r.how == "prior" ? ", the rows do not determine it"
                                       : "";
  return fmt::format("{:.4g} to {:.4g} (95 % jointly){}, {}", r.low, r.high, how, r.source);
}

std::string annotated_yaml(const KernelBehaviour& behaviour, std::span<const FitRecord> records,
                           const std::string& previous) {
  std::map<std::string, std::string> fresh;
  std::map<std::string, std::pair<std::string, std::string>> kept;  // path: line without comment, comment
  for (const FitRecord& r : records) fresh[r.parameter] = comment_of(r);
  each_line(previous, [&](const std::string& path, const std::string& line) {
    const std::size_t at = comment_at(line);
    if (!path.empty() && at != std::string::npos) kept[path] = {line.substr(0, at), line.substr(at)};
  });
  std::string out;
  each_line(emit_yaml(to_yaml(behaviour)), [&](const std::string& path, const std::string& line) {
    out += line;
    if (const auto record = fresh.find(path); record != fresh.end())
      out += kComment + record->second;
    else if (const auto old = kept.find(path); old != kept.end() && old->second.first == line)
      out += old->second.second;
    out += '\n';
  });
  return out;
}

}  // namespace tessera
