// A cache trace made ready for replay: every key renamed to a dense id in order of first use, so that
// replacement policies keep their state in flat arrays. Four bytes a reference.
//
// A block trace groups references into requests (the blocks of one prompt, in order); a key trace is
// a list of references, each its own request. Keys may have a size; one that changes keeps its first.
#pragma once

#include <tsl/robin_map.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/check.hpp"

namespace tessera {

class DenseTrace {
 public:
  using Id = std::uint32_t;
  static constexpr std::int64_t kNoTime = INT64_MIN;

  static constexpr std::uint32_t kNoSession = ~std::uint32_t{0};

  // One request of a block trace; it may have no blocks. All requests have a time or none has.
  void add_request(std::span<const std::uint64_t> blocks, std::int64_t time_ns = kNoTime,
                   std::uint32_t session = kNoSession) {
    TESSERA_CHECK(!keyed(), "a trace is of blocks or of keys");
    for (const std::uint64_t block : blocks) ids_.push_back(intern(block));
    ends_.push_back(ids_.size());
    if (session != kNoSession) {
      sessions_.resize(ends_.size(), kNoSession);
      sessions_.back() = session;
    }
    add_time(time_ns);
  }
  // One reference of a key trace.
  void add_key(std::uint64_t key, std::uint32_t size = 1, std::int64_t time_ns = kNoTime) {
    TESSERA_CHECK(ends_.empty(), "a trace is of blocks or of keys");
    const Id id = intern(key);
    ids_.push_back(id);
    if (id == sizes_.size()) sizes_.push_back(size);
    add_time(time_ns);
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
  // By id; empty for a block trace, whose blocks are all alike.
  [[nodiscard]] std::span<const std::uint32_t> sizes() const { return sizes_; }
  // Requests of one conversation; kNoSession where the trace names none.
  [[nodiscard]] bool has_sessions() const { return !sessions_.empty(); }
  [[nodiscard]] std::uint32_t session(std::size_t request) const {
    return request < sessions_.size() ? sessions_[request] : kNoSession;
  }
  [[nodiscard]] bool has_times() const { return !times_.empty(); }
  [[nodiscard]] std::int64_t time_ns(std::size_t request) const { return has_times() ? times_[request] : 0; }

 private:
  Id intern(std::uint64_t key) {
    const auto [entry, fresh] = names_.try_emplace(key, static_cast<Id>(names_.size()));
    if (fresh) TESSERA_CHECK(names_.size() < 0xFFFF'FFF0, "ids are 32 bits wide, less room for list ends");
    return entry->second;
  }
  void add_time(std::int64_t time_ns) {
    if (time_ns != kNoTime) times_.push_back(time_ns);
    TESSERA_CHECK(times_.empty() || times_.size() == requests(), "all requests have a time, or none");
  }

  std::vector<Id> ids_;
  std::vector<std::size_t> ends_;  // of each request in ids_
  std::vector<std::uint32_t> sizes_;
  std::vector<std::int64_t> times_;      // by request
  std::vector<std::uint32_t> sessions_;  // by request, as far as the last one named
  tsl::robin_map<std::uint64_t, Id> names_;
};

}  // namespace tessera
