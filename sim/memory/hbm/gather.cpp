#include "sim/memory/hbm/gather.hpp"

#include <cmath>

namespace tessera {
namespace {

constexpr std::int64_t kLargestBlock = std::int64_t{1} << 20;

}  // namespace

HbmGather::HbmGather(const HbmSpec& memory, const HbmGatherSpec& spec)
    : shape_(memory), random_(spec.seed, 1), streams_(static_cast<std::size_t>(spec.streams)) {
  const std::int64_t burst = memory.organisation.burst_bytes;
  const std::int64_t row = memory.organisation.row_bytes();
  if (spec.block_bytes < burst || spec.block_bytes % burst != 0)
    throw InputError("gather: blocks of " + std::to_string(spec.block_bytes) +
                     " bytes, expected a multiple of the burst of " + std::to_string(burst));
  if (spec.chunk_bytes < 2 * burst || spec.chunk_bytes % (2 * burst) != 0 || 2 * row % spec.chunk_bytes != 0)
    throw InputError("gather: chunks of " + std::to_string(spec.chunk_bytes) +
                     " bytes, expected a multiple of two bursts of " + std::to_string(burst) +
                     " that divides two rows of " + std::to_string(row));
  if (shape_.groups % 2 != 0) throw InputError("gather: expected an even number of bank groups");
  if (spec.channels < 1 || spec.streams < 1)
    throw InputError("gather: expected at least one channel and one stream");
  channels_ = static_cast<std::uint64_t>(spec.channels);
  chunk_bursts_ = static_cast<std::uint64_t>(spec.chunk_bytes / burst);
  run_bursts_ = chunk_bursts_ / 2;
  runs_per_row_ = shape_.columns / run_bursts_;
  block_bursts_ = static_cast<std::uint64_t>(spec.block_bytes / burst);
  turns_ = std::uint64_t{shape_.pseudo_channels} * shape_.banks / 2 * shape_.rows * runs_per_row_;
  blocks_ = turns_ * channels_ * chunk_bursts_ / block_bursts_;
  whole_chunks_ = block_bursts_ % chunk_bursts_ == 0;
  if (blocks_ == 0) throw InputError("gather: a block is larger than the memory");
  for (Stream& stream : streams_) {
    draw_block(stream);
    // Not all at the start of a block.
    if (const std::uint64_t chunks = block_bursts_ / chunk_bursts_; chunks > 1)
      stream.burst += random_() % chunks * chunk_bursts_;
    if (!to_our_chunk(stream)) draw_block(stream);
    locate(stream);
  }
}

std::uint64_t HbmGather::chunk_of_turn(std::uint64_t turn) const {
  return turn * channels_ + hbm_mixed(turn) % channels_;
}

// Moves on to the next burst of the block that lies in our channel; false: there is none.
bool HbmGather::to_our_chunk(Stream& stream) const {
  const std::uint64_t chunk = stream.burst / chunk_bursts_;
  std::uint64_t ours = chunk_of_turn(chunk / channels_);
  if (ours == chunk) return stream.burst < stream.end;
  if (ours < chunk) ours = chunk_of_turn(chunk / channels_ + 1);
  stream.burst = ours * chunk_bursts_;
  return stream.burst < stream.end;
}

// A block drawn evenly from those with a burst in our channel: one of our bursts is drawn, and taken if it is
// its block's first.
void HbmGather::draw_block(Stream& stream) {
  if (block_bursts_ >= 2 * channels_ * chunk_bursts_) {  // every such block has bursts of ours
    stream.burst = random_() % blocks_ * block_bursts_;
    stream.end = stream.burst + block_bursts_;
    to_our_chunk(stream);
    return;
  }
  for (;;) {
    const std::uint64_t draw = random_();
    const std::uint64_t in_chunk =
        static_cast<std::uint32_t>(draw >> 48U) % static_cast<std::uint32_t>(chunk_bursts_);
    if (whole_chunks_ && in_chunk != 0) continue;  // most draws: not the first burst of a block, whichever
    const std::uint64_t burst = chunk_of_turn(draw % turns_) * chunk_bursts_ + in_chunk;
    const std::uint64_t block = burst / block_bursts_;
    if (block >= blocks_) continue;
    stream.burst = block * block_bursts_;
    stream.end = stream.burst + block_bursts_;
    to_our_chunk(stream);
    if (stream.burst == burst) return;
  }
}

void HbmGather::locate(Stream& stream) const {
  const std::uint64_t chunk = stream.burst / chunk_bursts_;
  const std::uint64_t turn = chunk / channels_;  // which of our chunks
  const std::uint64_t in_half = turn / shape_.pseudo_channels;
  const std::uint64_t row_pair = in_half / runs_per_row_;
  const std::uint64_t row = row_pair / (shape_.banks / 2);
  const auto bank = static_cast<std::uint32_t>((row_pair + row) % (shape_.banks / 2) * 2);
  stream.in_chunk = static_cast<std::uint32_t>(stream.burst - chunk * chunk_bursts_);
  stream.first.pseudo_channel = static_cast<std::uint8_t>(turn % shape_.pseudo_channels);
  stream.first.row = static_cast<std::uint32_t>(row);
  stream.first.bank = shape_.interleaved_bank(bank);
  stream.other_bank = shape_.interleaved_bank(bank + 1);
  stream.first.column = static_cast<std::uint16_t>(in_half % runs_per_row_ * run_bursts_);
}

HbmRequest HbmGather::next() {
  Stream& stream = streams_[at_];
  const bool second = stream.in_chunk >= run_bursts_;
  HbmRequest request = stream.first;
  request.bank = second ? stream.other_bank : request.bank;
  request.column += static_cast<std::uint16_t>(stream.in_chunk - (second ? run_bursts_ : 0));
  ++stream.burst;
  ++stream.in_chunk;
  const bool chunk_done = stream.in_chunk == chunk_bursts_;
  if (chunk_done || stream.burst == stream.end) {
    if (stream.burst == stream.end || !to_our_chunk(stream)) draw_block(stream);
    locate(stream);
    if (++at_ == streams_.size()) at_ = 0;
  }
  return request;
}

HbmGatherCurve::HbmGatherCurve(const HbmSpec& memory, HbmGatherSpec spec, std::int64_t requests) {
  for (std::int64_t bytes = memory.organisation.burst_bytes; bytes <= kLargestBlock; bytes *= 2) {
    spec.block_bytes = bytes;
    HbmChannel channel(memory);
    const HbmRun run = run_saturated(channel, HbmGather(memory, spec), requests);
    points_.push_back({bytes, figures_of(memory, run).percent_of_peak / 100, run});
  }
}

double HbmGatherCurve::efficiency(std::int64_t block_bytes) const {
  if (block_bytes <= points_.front().block_bytes) {
    // Less than a burst still moves a whole one.
    return points_.front().fraction_of_peak * static_cast<double>(block_bytes) /
           static_cast<double>(points_.front().block_bytes);
  }
  for (std::size_t i = 1; i < points_.size(); ++i) {
    if (block_bytes > points_[i].block_bytes) continue;
    const double low = std::log2(static_cast<double>(points_[i - 1].block_bytes));
    const double at = std::log2(static_cast<double>(block_bytes)) - low;  // the points are one apart
    return points_[i - 1].fraction_of_peak +
           at * (points_[i].fraction_of_peak - points_[i - 1].fraction_of_peak);
  }
  return points_.back().fraction_of_peak;
}

}  // namespace tessera
