// The tiers below one engine's HBM: host memory, drives, a remote store, nearest first.
//
// Everything passes host memory: HBM <-host link-> host memory <-device-> tier. A tier without a device is
// host memory itself. Hops of one load or store are pipelined: a hop starts when its first piece is there and
// ends no sooner than one piece after the hop before. Bytes on a device are those of a block over the
// compression ratio; the codec in host memory is a link of its own.
//   write through   a block goes down when it has been computed, besides staying where it is
//   write on evict  it goes down when the level above drops it (HBM is the level above the first tier)
//   inclusive       a loaded block stays in its tier, and one from below host memory is kept there too
//   exclusive       it leaves its tier once it is in HBM, or kept in host memory on its way there, and comes
//                   back when HBM drops it
// A global tier is one store for all engines, each over its own device; `pool_gb_s` bounds them together.
// Writes are left out (counted) that would find a link busy for longer than the tier's limit. Limits and room
// come first: what no tier takes does not cross the host link.
//
// Assumed: a tier stores what the ranks hold. Where tensor parallelism replicates KV (latents of MLA, fewer
// KV heads than ranks) it stores and moves every rank's copy, though one would do.
// Left out: space in host memory for what is in transit, failures, what copies take from HBM and compute.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/memory/tiers/tier_link.hpp"
#include "sim/memory/tiers/tier_store.hpp"

namespace tessera {

struct TierSpec {
  std::string name;
  std::uint32_t capacity_blocks = 0;
  std::string policy = "lru";
  std::optional<TierDevice> device;  // none: host memory
  bool write_through = true;         // false: on evict
  bool exclusive = false;
  bool prefetch = true;  // into host memory while a request waits
  bool global = false;
  double pool_gb_s = 0;  // one way, of all engines of a global tier; 0: no limit of its own
  double ratio = 1;      // bytes of a block / bytes stored
  double compress_gb_s = 0, decompress_gb_s = 0;  // of a block's bytes; 0: takes no time
  std::int64_t most_backlog_ps = 0;
};

struct BlockShape {
  std::int64_t bytes = 0;   // of one block, all ranks of the engine
  std::int64_t pieces = 1;  // copies over the host link it takes
};

// What a global tier's engines share; a tier of one engine has its own.
struct TierHome {
  TierHome(const TierSpec& spec, const BlockShape& block);
  TierStore store;
  std::int64_t stored_bytes;  // of one block
  std::optional<TierLink> pool;
};

class TierStack {
 public:
  struct Count {                  // of one tier, blocks
    std::int64_t loaded = 0;      // from here to HBM
    std::int64_t read_ahead = 0;  // from here to host memory while their request waited
    std::int64_t stored = 0;      // written here from above
    std::int64_t promoted = 0;    // kept here on their way up
    std::int64_t prefetched = 0;  // the same, where they came to
    std::int64_t left_out = 0;    // writes given up for the backlog
  };
  using Load = TierLink::Transfer;

  // `homes`: of global tiers, by tier; null entries are made here.
  TierStack(TierLink host, const BlockShape& block, const std::vector<TierSpec>& tiers,
            const std::vector<std::shared_ptr<TierHome>>& homes = {});

  // How many of `hashes` from the front are in some tier; what the calls below may name.
  std::size_t find(std::span<const BlockHash> hashes);
  // When those blocks would be in HBM if asked for now (at the latest, where they lie in several tiers), and
  // bringing them there. All must be in some tier.
  // `position`: blocks of the prompt before the first. `earliest`: nothing moves before.
  [[nodiscard]] Load estimate(std::span<const BlockHash> hashes, std::int64_t now) const;
  Load load(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
            std::int64_t earliest = 0);
  // Blocks that were loaded are in HBM now: exclusive tiers let go of them.
  void arrived(std::span<const BlockHash> hashes);
  // Blocks that are in HBM from `ready` on.
  void computed(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
                std::int64_t ready);
  // Blocks that HBM drops at `now`; returns when their room can be written.
  std::int64_t dropped(std::span<const BlockHash> hashes, std::int64_t now);
  // Brings what lies below host memory up to it.
  void prefetch(std::span<const BlockHash> hashes, std::int64_t now);

  [[nodiscard]] std::size_t tiers() const { return levels_.size(); }
  [[nodiscard]] const TierSpec& spec(std::size_t tier) const { return levels_[tier].spec; }
  [[nodiscard]] const TierStore& store(std::size_t tier) const { return levels_[tier].home->store; }
  [[nodiscard]] const TierHome& home(std::size_t tier) const { return *levels_[tier].home; }
  [[nodiscard]] const Count& count(std::size_t tier) const { return levels_[tier].count; }
  [[nodiscard]] const TierLink* device(std::size_t tier) const {
    return levels_[tier].device ? &*levels_[tier].device : nullptr;
  }
  TierLink& host() { return host_; }
  [[nodiscard]] const TierLink& host() const { return host_; }
  [[nodiscard]] const BlockShape& block() const { return block_; }
  [[nodiscard]] std::int64_t piece_bytes() const { return piece_bytes_; }

  // Every store is whole and every link carried what was counted.
  void audit() const;

 private:
  struct Level {
    TierSpec spec;
    std::shared_ptr<TierHome> home;
    std::optional<TierLink> device, codec;
    Count count;
    std::vector<BlockHash> falling;  // dropped by the level above, not yet written here
    // Of the call under way: what is read from here, or what comes here.
    std::vector<BlockHash> blocks;
    std::vector<std::uint32_t> positions;
  };
  struct Part {  // of a load: what one tier gives
    std::int64_t blocks = 0;
    std::int64_t earliest_ps = 0;  // all of it can be read
  };
  [[nodiscard]] std::size_t where(BlockHash hash) const;  // nearest tier, or tiers()
  [[nodiscard]] bool host_memory_first() const { return !levels_.empty() && !levels_[0].device; }
  // The ways up, of a const stack estimated, else reserved. Calls done(tier, in_host, in_hbm) for each part.
  template <class Self>
  static Load read_to_host(Self& self, std::size_t tier, std::int64_t now, const Part& part);
  template <class Self, class Done>
  static Load bring_up(Self& self, std::span<const Part> parts, std::size_t front, std::int64_t now,
                       Done done);
  // The ways down: a tier takes in blocks, `behind` if their way to host memory is too busy; they cross the
  // host link; they go on.
  void take_in(std::size_t tier, std::span<const BlockHash> hashes, std::uint32_t position,
               std::int64_t first_ps, std::int64_t now, bool behind);
  Load write_to_host(std::int64_t blocks, std::int64_t now, std::int64_t ready);
  void write_down(std::size_t tier, std::int64_t now, const Load& from);
  void write_through(std::span<const BlockHash> hashes, std::uint32_t position, std::int64_t now,
                     std::int64_t ready);
  [[nodiscard]] std::int64_t first_in_host(std::int64_t ready) const;
  bool put(std::size_t tier, BlockHash hash, std::uint32_t position, std::int64_t ready, std::int64_t now);
  void settle(std::int64_t now);
  void group(std::span<const BlockHash> hashes, std::uint32_t position);

  TierLink host_;
  BlockShape block_;
  std::int64_t piece_bytes_;
  std::vector<Level> levels_;
  std::vector<BlockHash> missing_;
  std::vector<Part> parts_;
  std::vector<bool> crosses_;             // the host link, of the blocks written through
  std::int64_t host_written_blocks_ = 0;  // by tiers, not by swapping
};

}  // namespace tessera
