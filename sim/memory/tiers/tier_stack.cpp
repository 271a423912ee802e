#include "sim/memory/tiers/tier_stack.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

// One more hop over `link` for blocks that arrive as `from`: reserved, or estimated on a link that is const.
template <class Link>
TierLink::Transfer hop(Link& link, Direction direction, std::int64_t pieces, std::int64_t bytes,
                       std::int64_t now, const TierLink::Transfer& from) {
  const std::int64_t all = link.duration(direction, pieces, bytes);
  const std::int64_t earliest = std::max({now, from.first_ps, from.end_ps + all / pieces - all});
  if constexpr (std::is_const_v<Link>)
    return link.estimate(direction, pieces, bytes, earliest);
  else
    return link.submit(direction, pieces, bytes, now, earliest);
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
    : host_(std::move(host)), block_(block), piece_bytes_(ceil_div(block.bytes, block.pieces)) {
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

template <class Self>
TierStack::Load TierStack::read_to_host(Self& self, std::size_t tier, std::int64_t now, const Part& part) {
  auto& level = self.levels_[tier];
  // A home is shared: it is as const as the stack that looks at it.
  std::conditional_t<std::is_const_v<Self>, const TierHome, TierHome>& home = *level.home;
  Load at{part.earliest_ps, part.earliest_ps};
  if (level.device) at = hop(*level.device, Direction::read, part.blocks, home.stored_bytes, now, at);
  if (level.device && home.pool)
    at = hop(*home.pool, Direction::read, part.blocks, home.stored_bytes, now, at);
  if (level.codec) at = hop(*level.codec, Direction::read, part.blocks, self.block_.bytes, now, at);
  return at;
}

template <class Self, class Done>
TierStack::Load TierStack::bring_up(Self& self, std::span<const Part> parts, std::size_t front,
                                    std::int64_t now, Done done) {
  Load all{now, now};
  for (std::size_t tier = 0; tier < parts.size(); ++tier) {
    if (parts[tier].blocks == 0) continue;
    const Load in_host = read_to_host(self, tier, now, parts[tier]);
    Load from = in_host;
    // Parts share the host link. An estimate reserves nothing of it: one part follows the other.
    if constexpr (std::is_const_v<Self>)
      from = {std::max(in_host.first_ps, all.end_ps), std::max(in_host.end_ps, all.end_ps)};
    const Load in_hbm = hop(self.host_, Direction::read, parts[tier].blocks * self.block_.pieces,
                            self.piece_bytes_, now, from);
    all.end_ps = std::max(all.end_ps, in_hbm.end_ps);
    if (tier == front) all.first_ps = in_hbm.first_ps, all.start_ps = in_hbm.start_ps;
    done(tier, in_host, in_hbm);
  }
  return all;
}

TierStack::Load TierStack::estimate(std::span<const BlockHash> hashes, std::int64_t now) const {
  if (hashes.empty()) return {now, now};
  std::vector<Part> parts(levels_.size(), Part{0, now});
  for (const BlockHash hash : hashes) {
    const std::size_t tier = where(hash);
    TESSERA_CHECK(tier < levels_.size(), "only what a tier holds is loaded");
    ++parts[tier].blocks;
    parts[tier].earliest_ps = std::max(parts[tier].earliest_ps, levels_[tier].home->store.ready_ps(hash));
  }
  return bring_up(*this, parts, where(hashes.front()), now, [](std::size_t, const Load&, const Load&) {});
}

TierStack::Load TierStack::load(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
                                std::int64_t earliest) {
  if (hashes.empty()) return {now, now};
  group(hashes, position);
  parts_.assign(levels_.size(), Part{0, std::max(now, earliest)});
  for (std::size_t tier = 0; tier < levels_.size(); ++tier) {
    parts_[tier].blocks = static_cast<std::int64_t>(levels_[tier].blocks.size());
    for (const BlockHash hash : levels_[tier].blocks)
      parts_[tier].earliest_ps = std::max(parts_[tier].earliest_ps, levels_[tier].home->store.ready_ps(hash));
  }
  const auto read = [&](std::size_t tier, const Load& in_host, const Load& in_hbm) {
    Level& level = levels_[tier];
    TierStore& store = level.home->store;
    level.count.loaded += parts_[tier].blocks;
    // What a tier gives must stay there while it is read; from a device that is until it is in host memory.
    const std::int64_t read_until = level.device ? in_host.end_ps : in_hbm.end_ps;
    const bool keep = tier > 0 && host_memory_first() && !levels_[0].spec.exclusive;
    for (std::size_t i = 0; i < level.blocks.size(); ++i) {
      const bool kept = keep && put(0, level.blocks[i], level.positions[i], in_host.end_ps, now);
      if (kept) ++levels_[0].count.promoted;
      if (kept && level.spec.exclusive) {
        store.erase(level.blocks[i]);
      } else {
        store.touch(level.blocks[i], level.positions[i]);
        store.pin(level.blocks[i], read_until);
      }
    }
  };
  const Load all = bring_up(*this, parts_, where(hashes.front()), now, read);
  settle(now);
  return all;
}

// A load may be cancelled after its transfer was reserved: until its blocks are in HBM their tier has them.
void TierStack::arrived(std::span<const BlockHash> hashes) {
  for (Level& level : levels_) {
    if (!level.spec.exclusive) continue;
    for (const BlockHash hash : hashes)
      if (level.home->store.contains(hash)) level.home->store.erase(hash);
  }
}

bool TierStack::put(std::size_t tier, BlockHash hash, std::uint32_t position, std::int64_t ready,
                    std::int64_t now) {
  return levels_[tier].home->store.insert(hash, position, ready, now, [&](BlockHash gone) {
    if (tier + 1 < levels_.size() && !levels_[tier + 1].spec.write_through)
      levels_[tier + 1].falling.push_back(gone);
  });
}

// Blocks the tier lacks and has room for become its `blocks`: they are in host memory from `first_ps` on and
// still have to be written.
void TierStack::take_in(std::size_t tier, std::span<const BlockHash> hashes, std::uint32_t position,
                        std::int64_t first_ps, std::int64_t now, bool behind) {
  Level& level = levels_[tier];
  level.blocks.clear(), level.positions.clear();
  if (level.device)
    behind = behind || level.device->backlog_ps(Direction::write, first_ps) > level.spec.most_backlog_ps;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (level.home->store.contains(hashes[i])) continue;
    const auto at = position + static_cast<std::uint32_t>(i);
    if (behind) {
      ++level.count.left_out;
    } else if (put(tier, hashes[i], at, first_ps, now)) {
      level.blocks.push_back(hashes[i]);
      level.positions.push_back(at);
    }
  }
  level.count.stored += static_cast<std::int64_t>(level.blocks.size());
}

// When something that leaves HBM from `ready` on would first be in host memory.
std::int64_t TierStack::first_in_host(std::int64_t ready) const {
  return host_.estimate(Direction::write, block_.pieces, piece_bytes_, ready).first_ps;
}

TierStack::Load TierStack::write_to_host(std::int64_t blocks, std::int64_t now, std::int64_t ready) {
  host_written_blocks_ += blocks;
  return hop(host_, Direction::write, blocks * block_.pieces, piece_bytes_, now, {ready, ready});
}

// What the tier has taken in comes to host memory as `from` and goes on.
void TierStack::write_down(std::size_t tier, std::int64_t now, const Load& from) {
  Level& level = levels_[tier];
  TierHome& home = *level.home;
  const auto blocks = static_cast<std::int64_t>(level.blocks.size());
  if (blocks == 0) return;
  Load at = from;
  if (level.codec) at = hop(*level.codec, Direction::write, blocks, block_.bytes, now, at);
  if (level.device) at = hop(*level.device, Direction::write, blocks, home.stored_bytes, now, at);
  if (level.device && home.pool) at = hop(*home.pool, Direction::write, blocks, home.stored_bytes, now, at);
  for (const BlockHash hash : level.blocks)
    if (home.store.contains(hash)) home.store.arrives(hash, at.end_ps);
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
    take_in(tier, missing_, 0, now, now, false);
    write_down(tier, now, {now, now});
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
    write_through(run, at, now, ready);
    settle(now);
  }
}

void TierStack::write_through(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
                              std::int64_t ready) {
  std::int64_t limit = 0;
  for (const Level& level : levels_)
    if (level.spec.write_through) limit = std::max(limit, level.spec.most_backlog_ps);
  const bool behind = host_.backlog_ps(Direction::write, ready) > limit;
  const std::int64_t first_ps = first_in_host(ready);
  // A block crosses once, however many tiers take it.
  crosses_.assign(hashes.size(), false);
  for (std::size_t tier = 0; tier < levels_.size(); ++tier) {
    if (!levels_[tier].spec.write_through) continue;
    take_in(tier, hashes, position, first_ps, now, behind);
    for (const std::uint32_t at : levels_[tier].positions) crosses_[at - position] = true;
  }
  const auto blocks = std::count(crosses_.begin(), crosses_.end(), true);
  if (blocks == 0) return;
  const Load in_host = write_to_host(blocks, now, ready);
  for (std::size_t tier = 0; tier < levels_.size(); ++tier)
    if (levels_[tier].spec.write_through) write_down(tier, now, in_host);
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
  take_in(0, missing_, 0, first_in_host(now), now,
          host_.backlog_ps(Direction::write, now) > first.spec.most_backlog_ps);
  if (first.blocks.empty()) return now;
  const Load in_host = write_to_host(static_cast<std::int64_t>(first.blocks.size()), now, now);
  write_down(0, now, in_host);
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
    const auto blocks = static_cast<std::int64_t>(kept);
    const Load in_host = read_to_host(*this, tier, now, {blocks, earliest});
    level.count.read_ahead += blocks;
    levels_[0].count.prefetched += blocks;
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
  std::int64_t loaded = 0, through = 0, most_through = 0;
  for (const Level& level : levels_) {
    const Count& count = level.count;
    level.home->store.audit();
    TESSERA_CHECK(level.falling.empty(), "what a level drops is settled in the same call");
    loaded += count.loaded;
    if (level.spec.write_through || &level == levels_.data()) {
      through += count.stored;
      most_through = std::max(most_through, count.stored);
    }
    if (!level.device) continue;
    const std::int64_t bytes = level.home->stored_bytes;
    TESSERA_CHECK(level.device->use(Direction::read).bytes == (count.loaded + count.read_ahead) * bytes &&
                      level.device->use(Direction::write).bytes == count.stored * bytes,
                  "a device carries its blocks and nothing else");
  }
  TESSERA_CHECK(most_through <= host_written_blocks_ && host_written_blocks_ <= through,
                "what comes to host memory goes to some tier, once to each");
  TESSERA_CHECK(host_.use(Direction::read).bytes >= loaded * block_.pieces * piece_bytes_ &&
                    host_.use(Direction::write).bytes >= host_written_blocks_ * block_.pieces * piece_bytes_,
                "the host link carries the tiers' blocks, and what is swapped");
  static_cast<void>(loaded), static_cast<void>(through), static_cast<void>(most_through);
}

}  // namespace tessera
