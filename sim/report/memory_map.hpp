// Which KV block belongs to whom, over time: pictures of one engine's memory (the first replica's) at the
// launch of every so many steps. How many is doubled whenever the pictures become too many, every second one
// then goes, so a run of any length leaves between 64 and 128 of them, evenly spaced in steps.
//
// A block is free, cached (free, its content still to be found), or held by one request or several sequences
// (shared). Evicted: cached in the picture before and given to somebody else since. Mapped memory is shown in
// order of requests, as its rows have no order of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/serving/metrics.hpp"

namespace tessera {

class MemoryMap {
 public:
  static constexpr std::size_t kFewCells = 4096;      // looked at without being asked
  static constexpr std::size_t kMostCells = 1 << 20;  // looked at at all

  explicit MemoryMap(std::size_t most_cells) : most_cells_(most_cells) {}

  void look(const MemoryMoment& moment);
  [[nodiscard]] bool empty() const { return frames_.empty(); }
  [[nodiscard]] bool too_large() const { return cells_ > most_cells_; }
  [[nodiscard]] std::size_t cells() const { return cells_; }

  // memory_map.json: {blocks, block_tokens, every_steps, keys, frames: [{t_s, held, shared, cached, free,
  // evicted, runs: [[blocks, state, request, users], ..]}]}, runs in order of block ids.
  [[nodiscard]] std::string json(std::int64_t block_tokens) const;
  // Rows of cells: time goes down, blocks go right; each cell stands for as many blocks as it takes.
  [[nodiscard]] std::string picture(bool colour) const;

 private:
  struct Run {
    std::uint32_t blocks = 0;
    BlockCell::State state = BlockCell::State::free;
    std::uint32_t row = 0, users = 0;
  };
  struct Frame {
    std::int64_t start_ps = 0;
    std::size_t held = 0, shared = 0, cached = 0, evicted = 0;
    std::vector<Run> runs;
  };
  void keep_every_second();
  [[nodiscard]] std::string line(const Frame& frame, std::size_t width, bool colour) const;

  std::size_t most_cells_, cells_ = 0;
  std::vector<BlockCell> now_, before_;
  std::vector<Frame> frames_;
  std::size_t evicted_of_dropped_ = 0;  // for the next frame
  std::int64_t steps_ = 0, every_ = 1;
};

}  // namespace tessera
