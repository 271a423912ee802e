// Hit ratios of LRU at every capacity from one pass over a trace.
//
// Distances are those of lru_stack.hpp. Under the prefix rule of prefix_replay.hpp they are taken before
// the request touches anything, and block i is reached only where every block before it hits as well: what
// counts is the largest distance among blocks 0..i.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/memory/dense_trace.hpp"

namespace tessera {

class MissRatioCurve {
 public:
  explicit MissRatioCurve(const DenseTrace& trace);

  // Exact counts for an LRU cache of that many blocks.
  [[nodiscard]] std::int64_t prefix_hits(std::uint32_t blocks) const { return at(prefix_hits_, blocks); }
  [[nodiscard]] std::int64_t hits(std::uint32_t blocks) const { return at(hits_, blocks); }
  [[nodiscard]] std::int64_t references() const { return references_; }
  // From here on a larger cache hits no more.
  [[nodiscard]] std::uint32_t saturation() const { return static_cast<std::uint32_t>(hits_.size() - 1); }

 private:
  static std::int64_t at(const std::vector<std::int64_t>& curve, std::uint32_t blocks) {
    return blocks < curve.size() ? curve[blocks] : curve.back();
  }

  std::vector<std::int64_t> prefix_hits_;  // by capacity
  std::vector<std::int64_t> hits_;
  std::int64_t references_ = 0;
};

}  // namespace tessera
