#include "sim/serving/kv_mover.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

void MovementCount::add(const MovementCount& other) {
  loads += other.loads, loaded_tokens += other.loaded_tokens;
  looked_up_blocks += other.looked_up_blocks, found_blocks += other.found_blocks;
  declined_blocks += other.declined_blocks, cancelled_loads += other.cancelled_loads;
  load_ps += other.load_ps, stall_ps += other.stall_ps;
  swaps_out += other.swaps_out, swaps_in += other.swaps_in;
  swapped_out_blocks += other.swapped_out_blocks, swapped_in_blocks += other.swapped_in_blocks;
  swap_full += other.swap_full, swap_declined += other.swap_declined;
  peak_swap_blocks = std::max(peak_swap_blocks, other.peak_swap_blocks);
}

KvMover::KvMover(const KvMoverSpec& spec, StepCost& cost)
    : spec_(spec),
      cost_(cost),
      stack_(TierLink(spec.host_link, spec.lanes), spec.block, spec.tiers, spec.homes) {
  for (const TierSpec& tier : spec.tiers) exclusive_ = exclusive_ || tier.exclusive;
}

void KvMover::queued(Slot slot, std::span<const BlockHash> hashes, std::size_t cached, std::int64_t now,
                     std::int64_t input) {
  if (slot >= swapped_.size()) swapped_.resize(slot + 1);
  TESSERA_CHECK(swapped_[slot].tokens == 0, "a new request has nothing in swap space");
  // Its last token is always computed.
  const auto usable = std::min(hashes.size(), static_cast<std::size_t>((input - 1) / spec_.block_tokens));
  if (cached < usable) stack_.prefetch(hashes.subspan(cached, usable - cached), now);
}

std::int64_t KvMover::prefill_ps(std::int64_t from, std::int64_t to) {
  std::int64_t total = 0;
  while (from < to) {
    const PrefillChunk chunk{std::min(spec_.max_batched_tokens, to - from), from};
    StepShape shape;
    shape.chunks = {&chunk, 1};
    shape.prefill_tokens = chunk.tokens;
    total += cost_.price(shape).base_ps;
    from += chunk.tokens;
  }
  return total;
}

std::int64_t KvMover::swap_ps(std::int64_t blocks, std::int64_t earliest) const {
  const TierLink& host = stack_.host();
  const std::int64_t pieces = blocks * spec_.block.pieces;
  const std::int64_t out = host.estimate(Direction::write, pieces, stack_.piece_bytes(), earliest).end_ps;
  return host.estimate(Direction::read, pieces, stack_.piece_bytes(), out).end_ps - earliest;
}

// How many of the blocks found, from the front, are computed again.
std::size_t KvMover::blocks_to_compute(std::span<const BlockHash> found, std::int64_t cached,
                                       std::int64_t now) {
  const auto tokens = [this](std::size_t blocks) {
    return static_cast<std::int64_t>(blocks) * spec_.block_tokens;
  };
  const auto load_ps = [&](std::size_t skipped) {
    return skipped == found.size() ? 0 : stack_.estimate(found.subspan(skipped), now).end_ps - now;
  };
  if (spec_.split == LoadSplit::load) return 0;
  if (spec_.split == LoadSplit::cost)
    return load_ps(0) < prefill_ps(cached, cached + tokens(found.size())) ? 0 : found.size();
  // The least front whose computation outlasts the load of the rest: computing grows with it, loading falls.
  std::size_t low = 0, high = found.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (prefill_ps(cached, cached + tokens(middle)) >= load_ps(middle))
      high = middle;
    else
      low = middle + 1;
  }
  // One block less computed may still end sooner.
  const auto longer = [&](std::size_t front) {
    return std::max(prefill_ps(cached, cached + tokens(front)), load_ps(front));
  };
  return low > 0 && longer(low - 1) < longer(low) ? low - 1 : low;
}

// The layers of all blocks come in order: a layer's share of the transfer after its start the first is there.
std::int64_t KvMover::first_layer(const TierLink::Transfer& t) const {
  return t.start_ps + (t.end_ps - t.start_ps) / std::max<std::int64_t>(1, spec_.layers);
}

std::int64_t KvMover::reach(Slot slot, std::span<const BlockHash> hashes, std::int64_t cached,
                            std::int64_t target, std::int64_t most) {
  if (const Swapped& swapped = swapped_[slot]; swapped.tokens > 0)
    return std::max(cached, std::min({swapped.tokens, target - 1, most}));
  if (stack_.tiers() == 0) return cached;
  const auto first = static_cast<std::size_t>(cached / spec_.block_tokens);
  const auto last =
      std::min(hashes.size(), static_cast<std::size_t>(std::min(target - 1, most) / spec_.block_tokens));
  if (last <= first) return cached;
  const auto found = static_cast<std::int64_t>(stack_.find(hashes.subspan(first, last - first)));
  return found == 0 ? cached : (static_cast<std::int64_t>(first) + found) * spec_.block_tokens;
}

KvMover::Fetch KvMover::fetch(Slot slot, std::span<const BlockHash> hashes, std::int64_t cached,
                              std::int64_t target, std::int64_t most, std::int64_t now,
                              std::int64_t earliest) {
  if (Swapped& swapped = swapped_[slot]; swapped.tokens > 0) {
    const std::int64_t to = std::min({swapped.tokens, target - 1, most});
    const std::int64_t from = std::max({now, earliest, swapped.out_ps});
    release(slot);
    if (to > cached) {
      const std::int64_t blocks = ceil_div(to, spec_.block_tokens) - cached / spec_.block_tokens;
      const TierLink::Transfer in =
          stack_.host().submit(Direction::read, blocks * spec_.block.pieces, stack_.piece_bytes(), now, from);
      ++count_.swaps_in;
      count_.swapped_in_blocks += blocks;
      return {cached, to, first_layer(in), in.end_ps};
    }
  }
  if (stack_.tiers() == 0) return {};
  if (exclusive_) std::erase_if(coming_, [slot](const Coming& c) { return c.slot == slot; });
  const auto first = static_cast<std::size_t>(cached / spec_.block_tokens);
  const auto last =
      std::min(hashes.size(), static_cast<std::size_t>(std::min(target - 1, most) / spec_.block_tokens));
  if (last <= first) return {};
  count_.looked_up_blocks += static_cast<std::int64_t>(last - first);
  const std::size_t found = stack_.find(hashes.subspan(first, last - first));
  count_.found_blocks += static_cast<std::int64_t>(found);
  if (found == 0) return {};
  const auto blocks = hashes.subspan(first, found);
  const std::size_t front = blocks_to_compute(blocks, cached, now);
  count_.declined_blocks += static_cast<std::int64_t>(front);
  if (front == found) return {};
  const TierStack::Load load =
      stack_.load(blocks.subspan(front), static_cast<std::uint32_t>(first + front), now, earliest);
  const auto token = [this](std::size_t block) {
    return static_cast<std::int64_t>(block) * spec_.block_tokens;
  };
  if (exclusive_) coming_.push_back({slot, first + front, first + found, blocks.back()});
  ++count_.loads;
  count_.loaded_tokens += token(found - front);
  count_.load_ps += load.end_ps - now;
  return {token(first + front), token(first + found), first_layer(load), load.end_ps};
}

void KvMover::computed(std::span<const BlockHash> hashes, std::int64_t before, std::int64_t after,
                       std::int64_t now, std::int64_t ready) {
  if (stack_.tiers() == 0) return;
  const auto first = static_cast<std::size_t>(before / spec_.block_tokens);
  if (!coming_.empty()) arrived(hashes.first(std::min(first, hashes.size())));
  const auto last = std::min(hashes.size(), static_cast<std::size_t>(after / spec_.block_tokens));
  if (last > first)
    stack_.computed(hashes.subspan(first, last - first), static_cast<std::uint32_t>(first), now, ready);
}

// The blocks at the front of a prompt are in HBM, whoever brought them.
void KvMover::arrived(std::span<const BlockHash> front) {
  std::erase_if(coming_, [&](const Coming& c) {
    if (c.last > front.size() || front[c.last - 1] != c.back) return false;
    stack_.arrived(front.subspan(c.first, c.last - c.first));
    return true;
  });
}

std::optional<std::int64_t> KvMover::swap_out(Slot slot, std::int64_t computed, std::int64_t target,
                                              std::int64_t now, std::int64_t earliest) {
  if (spec_.preemption == Preemption::recompute || computed == 0) return std::nullopt;
  TESSERA_CHECK(swapped_[slot].tokens == 0, "what is in HBM is not in swap space");
  const std::int64_t blocks = ceil_div(computed, spec_.block_tokens);
  if (spec_.preemption == Preemption::cost &&
      swap_ps(blocks, earliest) >= prefill_ps(0, std::min(computed, target))) {
    ++count_.swap_declined;
    return std::nullopt;
  }
  if (swap_used_ + blocks > spec_.swap_blocks) {
    ++count_.swap_full;
    return std::nullopt;
  }
  const TierLink::Transfer out = stack_.host().submit(Direction::write, blocks * spec_.block.pieces,
                                                      stack_.piece_bytes(), now, earliest);
  swap_used_ += blocks;
  ++count_.swaps_out;
  count_.swapped_out_blocks += blocks;
  count_.peak_swap_blocks = std::max(count_.peak_swap_blocks, swap_used_);
  swapped_[slot] = {computed, blocks, out.end_ps};
  return out.end_ps;
}

void KvMover::release(Slot slot) {
  swap_used_ -= swapped_[slot].blocks;
  swapped_[slot] = {};
}

}  // namespace tessera
