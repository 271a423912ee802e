// Reading KV blocks that lie scattered over a GPU's memory, as one channel sees it.
//
// Address map assumed (GPU vendors publish none): that of GPGPU-Sim's configurations, row : bank : column :
// bank group bit : column : burst with the channel at bit 8. Memory is cut into chunks of 256 B that go round
// the channels, in an order rotated by a hash of the upper bits; a chunk lies in one pseudo-channel, its
// halves in two bank groups; the chunks of a channel fill a pair of rows in each pseudo-channel, then move to
// the next banks, which are rotated from row to row (Zhang et al., MICRO 2000). So a block of B bytes leaves
// about B / 256 / channels chunks in a channel: small blocks leave single chunks in rows of their own, and
// only blocks of about channels x pseudo-channels x 2 rows (320 KiB for 80 channels) use whole rows.
//
// Many thread blocks read at once: `streams` of them take turns, a chunk each, every one in a random block of
// the pool. Left out: L2 hits, order within a warp, partly filled blocks.
#pragma once

#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/hbm/run.hpp"

namespace tessera {

struct HbmGatherSpec {
  std::int64_t block_bytes = 32768;  // contiguous; a multiple of the burst
  std::int64_t channels = 80;        // of the GPU: 5 stacks x 16 on an H100
  std::int64_t chunk_bytes = 256;    // of one channel; two halves divide a row
  std::int64_t streams = 132;        // blocks being read at once
  std::uint64_t seed = 1;
};

class HbmGather {
 public:
  HbmGather(const HbmSpec& memory, const HbmGatherSpec& spec);
  HbmRequest next();

 private:
  struct Stream {
    std::uint64_t burst = 0;  // of the GPU's address space
    std::uint64_t end = 0;    // of the block
    std::uint32_t in_chunk = 0;
    HbmRequest first;             // of its chunk, with the bank of its first run ...
    std::uint8_t other_bank = 0;  // ... and that of the second
  };
  [[nodiscard]] std::uint64_t chunk_of_turn(std::uint64_t turn) const;  // our chunk of the turn-th round
  void draw_block(Stream& stream);
  bool to_our_chunk(Stream& stream) const;
  void locate(Stream& stream) const;  // its burst in rows and banks

  HbmShape shape_;
  sim::RandomStream random_;
  std::uint64_t channels_, chunk_bursts_, run_bursts_, runs_per_row_;
  std::uint64_t block_bursts_, blocks_, turns_;
  bool whole_chunks_;  // blocks begin where chunks do
  std::vector<Stream> streams_;
  std::size_t at_ = 0;
};

// Part of the peak bandwidth that gathers of blocks reach, by block size: simulated at powers of two, linear
// in the logarithm between them, constant above the last.
class HbmGatherCurve {
 public:
  struct Point {
    std::int64_t block_bytes = 0;
    double fraction_of_peak = 0;
    HbmRun run;
  };
  explicit HbmGatherCurve(const HbmSpec& memory, HbmGatherSpec spec = {}, std::int64_t requests = 100'000);
  [[nodiscard]] double efficiency(std::int64_t block_bytes) const;
  [[nodiscard]] const std::vector<Point>& points() const { return points_; }

 private:
  std::vector<Point> points_;
};

}  // namespace tessera
