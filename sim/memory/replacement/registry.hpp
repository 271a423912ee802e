// The replacement policies by name, one line each in registry.cpp. Adding one is one header beside this
// file, one line there, and one row in the table of slow references of tests/property/replacement_test.cpp.
#pragma once

#include <span>
#include <string_view>

#include "sim/memory/prefix_replay.hpp"

namespace tessera {

struct PolicyEntry {
  using Replay = CacheResult (*)(const DenseTrace& trace, const CacheSetup& setup);
  std::string_view name;
  std::string_view doc;
  Replay replay;
  Replay replay_bytes;       // null: the policy's rule is made for keys of one size
  bool needs_times = false;  // of requests
};

std::span<const PolicyEntry> replacement_policies();

// An unknown name is an InputError that lists the names and suggests the nearest.
const PolicyEntry& find_policy(std::string_view name);

}  // namespace tessera
