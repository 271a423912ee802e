// A cache trace made ready for replay: every key renamed to a dense id in order of first use, so that
// replacement policies keep their state in flat arrays. Four bytes a reference.
//
// A block trace groups references into requests (the blocks of one prompt, in order); a key trace is
// a list of references, each its own request.
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/check.hpp"

namespace tessera {

class DenseTrace {
 public:
  using Id = std::uint32_t;

  // One request of a block trace; it may have no blocks.
  void add_request(std::span<const std::uint64_t> blocks) {
    TESSERA_CHECK(!keyed(), "a trace is of blocks or of keys");
    for (const std::uint64_t block : blocks) ids_.push_back(intern(block));
    ends_.push_back(ids_.size());
  }
  // One reference of a key trace.
  void add_key(std::uint64_t key) {
    TESSERA_CHECK(ends_.empty(), "a trace is of blocks or of keys");
    ids_.push_back(intern(key));
  }

  // True where each reference is a request of its own.
  [[nodiscard]] bool keyed() const { return ends_.empty() && !ids_.empty(); }
  [[nodiscard]] std::size_t requests() const { return keyed() ? ids_.size() : ends_.size(); }
  [[nodiscard]] std::span<const Id> references() const { return ids_; }
  [[nodiscard]] std::span<const Id> request(std::size_t i) const {
    if (keyed()) return references().subspan(i, 1);
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return references().subspan(begin, ends_[i] - begin);
  }
  // Different keys; ids are below it.
  [[nodiscard]] Id distinct() const { return static_cast<Id>(names_.size()); }

 private:
  Id intern(std::uint64_t key) {
    const auto [entry, fresh] = names_.try_emplace(key, static_cast<Id>(names_.size()));
    if (fresh) TESSERA_CHECK(names_.size() < 0xFFFF'FFFF, "ids are 32 bits wide");
    return entry->second;
  }

  std::vector<Id> ids_;
  std::vector<std::size_t> ends_;  // of each request in ids_
  tsl::robin_map<std::uint64_t, Id> names_;
};

}  // namespace tessera
