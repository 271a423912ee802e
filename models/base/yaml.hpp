// A YAML document as a plain tree that remembers where each value stood.
//
// yaml-cpp parses; this tree adds what a strict reader needs: duplicate keys are errors, anchors,
// aliases, merges and tags are refused (no document can blow up), depth and size are bounded.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/base/error.hpp"

namespace tessera {

struct Yaml {
  enum class Kind { null, scalar, map, list };
  struct Entry;

  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;  // "123" in quotes is text, never a number
  std::vector<Entry> map;
  std::vector<Yaml> list;
  Location at;

  [[nodiscard]] const Yaml* find(std::string_view key) const;
  Yaml* find(std::string_view key);
  [[nodiscard]] const char* kind_name() const;
};

struct Yaml::Entry {
  std::string key;
  Location at;
  Yaml value;
};

// Throws InputError naming file, line and column. `file` is used in messages only.
Yaml parse_yaml(std::string_view text, const std::string& file);
Yaml load_yaml(const std::string& path);

// Sets `a.b.c` to `value` in a map tree, creating maps on the way. Lists are indexed by number.
// `expand` is asked to turn a scalar that stands for a file (a GPU's name) into that file's map.
using ExpandReference = Yaml (*)(std::string_view path, const Yaml& scalar);
void set_path(Yaml& root, std::string_view path, Yaml value, ExpandReference expand);

std::string read_file(const std::string& path);  // throws InputError if it cannot

}  // namespace tessera
