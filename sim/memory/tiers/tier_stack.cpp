#include "sim/memory/tiers/tier_stack.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

// One more hop over `link` for blocks that arrive as `from`.
TierLink::Transfer hop(TierLink& link, Direction direction, std::int64_t pieces, std::int64_t bytes,
                       std::int64_t now, const TierLink::Transfer& from) {
  const std::int64_t all = link.duration(direction, pieces, bytes);
  return link.submit(direction, pieces, bytes, now,
                     std::max({now, from.first_ps, from.end_ps + all / pieces - all}));
}
TierLink::Transfer hop(const TierLink& link, Direction direction, std::int64_t pieces, std::int64_t bytes,
                       const TierLink::Transfer& from) {
  const std::int64_t all = link.duration(direction, pieces, bytes);
  return link.estimate(direction, pieces, bytes, std::max(from.first_ps, from.end_ps + all / pieces - all));
}

TierLink plain_link(const std::string& name, double read_gb_s, double write_gb_s) {
  TierLink::Spec spec;
  spec.name = name;
  spec.gb_s = {read_gb_s, write_gb_s};
  spec.both_gb_s = read_gb_s + write_gb_s;
  spec.peak_gb_s = std::max(read_gb_s, write_gb_s);
  return TierLink(spec);
}

constexpr double kAtOnce = 1e9;  // GB/s of a codec that takes no time

}  // namespace

TierHome::TierHome(const TierSpec& spec, const BlockShape& block)
    : store(spec.policy, spec.capacity_blocks),
      stored_bytes(std::max<std::int64_t>(
          1, static_cast<std::int64_t>(std::ceil(static_cast<double>(block.bytes) / spec.ratio)))) {
  if (spec.pool_gb_s > 0) pool = plain_link(spec.name + " pool", spec.pool_gb_s, spec.pool_gb_s);
}

TierStack::TierStack(TierLink host, const BlockShape& block, const std::vector<TierSpec>& tiers,
                     const std::vector<std::shared_ptr<TierHome>>& homes)
    : host_(std::move(host)),
      block_(block),
      piece_bytes_(ceil_div(block.bytes, block.pieces)),
      device_blocks_(tiers.size()) {
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    Level level;
    level.spec = tiers[i];
    level.home = i < homes.size() && homes[i] ? homes[i] : std::make_shared<TierHome>(tiers[i], block);
    if (tiers[i].device) level.device.emplace(*tiers[i].device, 1);
    if (tiers[i].compress_gb_s > 0 || tiers[i].decompress_gb_s > 0)
      level.codec = plain_link(tiers[i].name + " codec",
                               tiers[i].decompress_gb_s > 0 ? tiers[i].decompress_gb_s : kAtOnce,
                               tiers[i].compress_gb_s > 0 ? tiers[i].compress_gb_s : kAtOnce);
    levels_.push_back(std::move(level));
  }
}

std::size_t TierStack::where(BlockHash hash) const {
  for (std::size_t i = 0; i < levels_.size(); ++i)
    if (levels_[i].home->store.contains(hash)) return i;
  return levels_.size();
}

std::size_t TierStack::find(std::span<const BlockHash> hashes) {
  std::size_t found = 0;
  while (found < hashes.size() && where(hashes[found]) < levels_.size()) ++found;
  return found;
}

// Sorts blocks by the tier that has them.
void TierStack::group(std::span<const BlockHash> hashes, std::uint32_t position) {
  for (Level& level : levels_) level.blocks.clear(), level.positions.clear();
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    const std::size_t tier = where(hashes[i]);
    if (tier == levels_.size()) continue;
    levels_[tier].blocks.push_back(hashes[i]);
    levels_[tier].positions.push_back(position + static_cast<std::uint32_t>(i));
  }
}

TierStack::Load TierStack::over_host_link(Direction direction, std::int64_t blocks, std::int64_t now,
                                          const Load& from) {
  (direction == Direction::read ? host_read_blocks_ : host_written_blocks_) += blocks;
  return hop(host_, direction, blocks * block_.pieces, piece_bytes_, now, from);
}

TierStack::Load TierStack::read_to_host(Level& level, std::int64_t blocks, std::int64_t now,
                                        std::int64_t earliest) {
  Load at{earliest, earliest};
  if (level.device) {
    device_blocks_[static_cast<std::size_t>(&level - levels_.data())][0] += blocks;
    at = level.device->submit(Direction::read, blocks, level.home->stored_bytes, now, earliest);
    if (level.home->pool)
      at = hop(*level.home->pool, Direction::read, blocks, level.home->stored_bytes, now, at);
  }
  if (level.codec) at = hop(*level.codec, Direction::read, blocks, block_.bytes, now, at);
  return at;
}

TierStack::Load TierStack::estimate(std::span<const BlockHash> hashes, std::int64_t now) const {
  struct Part {
    std::int64_t blocks = 0, earliest = 0;
  };
  std::vector<Part> parts(levels_.size());
  for (const BlockHash hash : hashes) {
    const std::size_t tier = where(hash);
    TESSERA_CHECK(tier < levels_.size(), "only what a tier holds is loaded");
    ++parts[tier].blocks;
    parts[tier].earliest = std::max({now, parts[tier].earliest, levels_[tier].home->store.ready_ps(hash)});
  }
  Load all{now, now};
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    if (parts[i].blocks == 0) continue;
    const Level& level = levels_[i];
    Load at{parts[i].earliest, parts[i].earliest};
    if (level.device) {
      at = level.device->estimate(Direction::read, parts[i].blocks, level.home->stored_bytes, at.first_ps);
      if (level.home->pool) {
        const TierLink& pool = *level.home->pool;
        at = hop(pool, Direction::read, parts[i].blocks, level.home->stored_bytes, at);
      }
    }
    if (level.codec) {
      const TierLink& codec = *level.codec;
      at = hop(codec, Direction::read, parts[i].blocks, block_.bytes, at);
    }
    // Parts follow each other over the host link.
    at.first_ps = std::max(at.first_ps, all.end_ps);
    at.end_ps = std::max(at.end_ps, all.end_ps);
    at = hop(static_cast<const TierLink&>(host_), Direction::read, parts[i].blocks * block_.pieces,
             piece_bytes_, at);
    all.end_ps = std::max(all.end_ps, at.end_ps);
    all.first_ps = i == where(hashes.front()) ? at.first_ps : all.first_ps;
  }
  return all;
}

TierStack::Load TierStack::load(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now) {
  group(hashes, position);
  Load all{now, now};
  const std::size_t front = hashes.empty() ? levels_.size() : where(hashes.front());
  for (std::size_t tier = 0; tier < levels_.size(); ++tier) {
    Level& level = levels_[tier];
    if (level.blocks.empty()) continue;
    TierStore& store = level.home->store;
    std::int64_t earliest = now;
    for (const BlockHash hash : level.blocks) earliest = std::max(earliest, store.ready_ps(hash));
    const auto blocks = static_cast<std::int64_t>(level.blocks.size());
    const Load in_host = read_to_host(level, blocks, now, earliest);
    const Load in_hbm = over_host_link(Direction::read, blocks, now, in_host);
    level.count.loaded += blocks;
    all.end_ps = std::max(all.end_ps, in_hbm.end_ps);
    if (tier == front) all.first_ps = in_hbm.first_ps;
    // What a tier gives must stay there while it is read; from a device that is until it is in host memory.
    const std::int64_t read_until = level.device ? in_host.end_ps : in_hbm.end_ps;
    const bool keep = tier > 0 && host_memory_first() && !levels_[0].spec.exclusive;
    for (std::size_t i = 0; i < level.blocks.size(); ++i) {
      if (level.spec.exclusive) {
        store.erase(level.blocks[i]);
      } else {
        store.touch(level.blocks[i], level.positions[i]);
        store.pin(level.blocks[i], read_until);
      }
      if (keep && put(0, level.blocks[i], level.positions[i], in_host.end_ps, now))
        ++levels_[0].count.promoted;
    }
  }
  settle(now);
  return all;
}

bool TierStack::put(std::size_t tier, BlockHash hash, std::uint32_t position, std::int64_t ready,
                    std::int64_t now) {
  return levels_[tier].home->store.insert(hash, position, ready, now, [&](BlockHash gone) {
    if (tier + 1 < levels_.size() && !levels_[tier + 1].spec.write_through)
      levels_[tier + 1].falling.push_back(gone);
  });
}

// Blocks that are, or come, to host memory as `from` go to a tier that does not hold them.
void TierStack::write_from_host(std::size_t tier, std::span<const BlockHash> hashes, std::uint32_t position,
                                std::int64_t now, const Load& from) {
  Level& level = levels_[tier];
  const auto blocks = static_cast<std::int64_t>(hashes.size());
  if (blocks == 0) return;
  if (level.device &&
      level.device->backlog_ps(Direction::write, from.first_ps) > level.spec.most_backlog_ps) {
    level.count.left_out += blocks;
    return;
  }
  // Room first: what no room is found for is not written.
  next_.clear();
  for (std::size_t i = 0; i < hashes.size(); ++i)
    if (put(tier, hashes[i], position + static_cast<std::uint32_t>(i), from.end_ps, now))
      next_.push_back(hashes[i]);
  const auto written = static_cast<std::int64_t>(next_.size());
  if (written == 0) return;
  level.count.stored += written;
  Load at = from;
  if (level.codec) at = hop(*level.codec, Direction::write, written, block_.bytes, now, at);
  if (level.device) {
    device_blocks_[tier][1] += written;
    at = hop(*level.device, Direction::write, written, level.home->stored_bytes, now, at);
    if (level.home->pool)
      at = hop(*level.home->pool, Direction::write, written, level.home->stored_bytes, now, at);
  }
  for (const BlockHash hash : next_)
    if (level.home->store.contains(hash)) level.home->store.arrives(hash, at.end_ps);
}

// What levels have dropped goes down, and what that drops in turn.
void TierStack::settle(std::int64_t now) {
  for (std::size_t tier = 1; tier < levels_.size(); ++tier) {
    Level& level = levels_[tier];
    if (level.falling.empty()) continue;
    missing_.clear();
    for (const BlockHash hash : level.falling) {
      if (level.home->store.contains(hash))
        level.home->store.touch(hash, 0);
      else
        missing_.push_back(hash);
    }
    level.falling.clear();
    // A block may have been dropped, come back and been dropped again within one call.
    std::sort(missing_.begin(), missing_.end());
    missing_.erase(std::unique(missing_.begin(), missing_.end()), missing_.end());
    const std::vector<BlockHash> blocks = missing_;
    write_from_host(tier, blocks, 0, now, {now, now});
  }
}

void TierStack::computed(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
                         std::int64_t ready) {
  const auto wants = [](const Level& level, BlockHash hash) {
    return level.spec.write_through && !level.home->store.contains(hash);
  };
  std::size_t from = 0;
  // Runs of blocks that some tier lacks, so that positions stay those of the prompt.
  while (from < hashes.size()) {
    const auto lacking = [&](BlockHash hash) {
      return std::any_of(levels_.begin(), levels_.end(), [&](const Level& l) { return wants(l, hash); });
    };
    if (!lacking(hashes[from])) {
      for (Level& level : levels_)
        if (level.home->store.contains(hashes[from]))
          level.home->store.touch(hashes[from], position + static_cast<std::uint32_t>(from));
      ++from;
      continue;
    }
    std::size_t to = from + 1;
    while (to < hashes.size() && lacking(hashes[to])) ++to;
    const auto run = hashes.subspan(from, to - from);
    const auto at = position + static_cast<std::uint32_t>(from);
    from = to;
    std::int64_t limit = 0;
    for (const Level& level : levels_)
      if (level.spec.write_through) limit = std::max(limit, level.spec.most_backlog_ps);
    if (host_.backlog_ps(Direction::write, ready) > limit) {
      for (Level& level : levels_)
        if (level.spec.write_through) level.count.left_out += static_cast<std::int64_t>(run.size());
      continue;
    }
    const Load in_host =
        over_host_link(Direction::write, static_cast<std::int64_t>(run.size()), now, {ready, ready});
    for (std::size_t tier = 0; tier < levels_.size(); ++tier) {
      if (!levels_[tier].spec.write_through) continue;
      // Each run within the run that this tier lacks.
      for (std::size_t i = 0; i < run.size();) {
        std::size_t j = i;
        while (j < run.size() && !levels_[tier].home->store.contains(run[j])) ++j;
        if (j > i)
          write_from_host(tier, run.subspan(i, j - i), at + static_cast<std::uint32_t>(i), now, in_host);
        i = std::max(j, i + 1);
      }
    }
    settle(now);
  }
}

std::int64_t TierStack::dropped(std::span<const BlockHash> hashes, std::int64_t now) {
  if (levels_.empty() || levels_[0].spec.write_through) return now;
  Level& first = levels_[0];
  missing_.clear();
  for (const BlockHash hash : hashes) {
    if (first.home->store.contains(hash))
      first.home->store.touch(hash, 0);
    else
      missing_.push_back(hash);
  }
  std::sort(missing_.begin(), missing_.end());
  missing_.erase(std::unique(missing_.begin(), missing_.end()), missing_.end());
  if (missing_.empty()) return now;
  if (host_.backlog_ps(Direction::write, now) > first.spec.most_backlog_ps) {
    first.count.left_out += static_cast<std::int64_t>(missing_.size());
    return now;
  }
  const std::vector<BlockHash> blocks = missing_;
  const Load in_host =
      over_host_link(Direction::write, static_cast<std::int64_t>(blocks.size()), now, {now, now});
  write_from_host(0, blocks, 0, now, in_host);
  settle(now);
  return in_host.end_ps;
}

void TierStack::prefetch(std::span<const BlockHash> hashes, std::int64_t now) {
  if (levels_.size() < 2 || !host_memory_first()) return;
  const std::size_t most = std::min<std::size_t>(find(hashes), levels_[0].home->store.capacity());
  group(hashes.first(most), 0);
  for (std::size_t i = 0; i < levels_[0].blocks.size(); ++i)
    levels_[0].home->store.touch(levels_[0].blocks[i], levels_[0].positions[i]);
  for (std::size_t tier = 1; tier < levels_.size(); ++tier) {
    Level& level = levels_[tier];
    if (level.blocks.empty() || !level.spec.prefetch) continue;
    TierStore& store = level.home->store;
    std::int64_t earliest = now;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < level.blocks.size(); ++i) {
      const std::int64_t ready = store.ready_ps(level.blocks[i]);
      if (!put(0, level.blocks[i], level.positions[i], now, now)) continue;
      earliest = std::max(earliest, ready);
      level.blocks[kept++] = level.blocks[i];
    }
    level.blocks.resize(kept);
    if (kept == 0) continue;
    const Load in_host = read_to_host(level, static_cast<std::int64_t>(kept), now, earliest);
    levels_[0].count.prefetched += static_cast<std::int64_t>(kept);
    for (const BlockHash hash : level.blocks) {
      if (levels_[0].home->store.contains(hash)) levels_[0].home->store.arrives(hash, in_host.end_ps);
      if (level.spec.exclusive) {
        store.erase(hash);
      } else {
        store.touch(hash, 0);
        store.pin(hash, in_host.end_ps);
      }
    }
  }
  settle(now);
}

void TierStack::audit() const {
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const Level& level = levels_[i];
    level.home->store.audit();
    TESSERA_CHECK(level.falling.empty(), "what a level drops is settled in the same call");
    if (!level.device) continue;
    const std::int64_t bytes = level.home->stored_bytes;
    TESSERA_CHECK(level.device->use(Direction::read).bytes == device_blocks_[i][0] * bytes &&
                      level.device->use(Direction::write).bytes == device_blocks_[i][1] * bytes,
                  "a device carries its blocks and nothing else");
  }
  TESSERA_CHECK(host_.use(Direction::read).bytes >= host_read_blocks_ * block_.pieces * piece_bytes_ &&
                    host_.use(Direction::write).bytes >= host_written_blocks_ * block_.pieces * piece_bytes_,
                "the host link carries the tiers' blocks, and what is swapped");
}

}  // namespace tessera
