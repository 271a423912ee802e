// What moves KV in and out of one engine's HBM, and when that is better than computing it again.
//
// Loads. A request that is admitted finds its prompt's front in HBM and what follows in the tiers; of that
// the rule `split` says what is loaded:
//   load       all of it
//   cost       all if it would be here before it could be computed again, else nothing
//   both-ends  the front is computed while the back is loaded, so that both end together (Cake,
//              arXiv 2410.03065): time about 1 / (1 / t_compute + 1 / t_load)
// and `mode` how: async, the request waits for its blocks while others run (vLLM's offloading connector), or
// layerwise, the step waits for each layer's share: it takes first piece + max(compute, load) at least.
//
// Preemption. swap copies a request's blocks to host memory and brings back those that HBM no longer has;
// recompute drops them; cost compares both transfers with the prefill it would take. The next step starts
// when the copies are out, as what they leave is given to others at once. Estimates see the links' present
// queues, and an otherwise idle GPU.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sim/memory/tiers/tier_stack.hpp"
#include "sim/serving/step.hpp"

namespace tessera {

enum class LoadMode : std::uint8_t { async, layerwise };
enum class LoadSplit : std::uint8_t { load, cost, both_ends };
enum class Preemption : std::uint8_t { recompute, swap, cost };

struct KvMoverSpec {
  TierDevice host_link;
  std::int64_t lanes = 1;  // GPUs of the engine, each with a link of its own
  BlockShape block;
  std::int64_t block_tokens = 16;
  std::int64_t layers = 1;
  std::int64_t max_batched_tokens = 2048;
  std::vector<TierSpec> tiers;
  std::vector<std::shared_ptr<TierHome>> homes;  // of global tiers
  LoadMode mode = LoadMode::async;
  LoadSplit split = LoadSplit::load;
  Preemption preemption = Preemption::recompute;
  std::int64_t swap_blocks = 0;
};

// Sums over a run.
struct MovementCount {
  std::int64_t loads = 0, loaded_tokens = 0;
  std::int64_t looked_up_blocks = 0, found_blocks = 0;  // past what HBM had
  std::int64_t declined_blocks = 0;                     // found, and computed again by choice
  std::int64_t cancelled_loads = 0;                     // their request was preempted
  std::int64_t load_ps = 0;                             // from request to last block, summed
  std::int64_t stall_ps = 0;                            // steps waited for blocks to come or go
  std::int64_t swaps_out = 0, swaps_in = 0, swapped_out_blocks = 0, swapped_in_blocks = 0;
  std::int64_t swap_full = 0;      // preemptions recomputed because swap space was full
  std::int64_t swap_declined = 0;  // recomputed because that was cheaper
  std::int64_t peak_swap_blocks = 0;
  void add(const MovementCount& other);
};

class KvMover {
 public:
  using Slot = std::uint32_t;

  KvMover(const KvMoverSpec& spec, StepCost& cost);

  // A new request of `input` tokens with these prompt blocks waits; `cached` of them are in HBM.
  void queued(Slot slot, std::span<const BlockHash> hashes, std::size_t cached, std::int64_t now,
              std::int64_t input);

  struct Fetch {
    std::int64_t from = 0, to = 0;          // tokens that come; none if equal
    std::int64_t first_ps = 0, end_ps = 0;  // the first layer's share has come; all has
  };
  // The request is admitted with `cached` tokens in HBM of `target`; at most `most` can have room, which
  // nothing may enter before `earliest`.
  Fetch fetch(Slot slot, std::span<const BlockHash> hashes, std::int64_t cached, std::int64_t target,
              std::int64_t most, std::int64_t now, std::int64_t earliest = 0);
  // The token up to which that may bring something; `cached` if nothing.
  std::int64_t reach(Slot slot, std::span<const BlockHash> hashes, std::int64_t cached, std::int64_t target,
                     std::int64_t most);
  // What HBM drops goes down, so its room must not be written before.
  [[nodiscard]] bool keeps_drops() const { return stack_.tiers() > 0 && !stack_.spec(0).write_through; }
  // Tokens [before, after) of the prompt are computed at `ready`.
  void computed(std::span<const BlockHash> hashes, std::int64_t before, std::int64_t after, std::int64_t now,
                std::int64_t ready);
  // HBM gives up these blocks; returns when what takes their place can be written.
  std::int64_t dropped(std::span<const BlockHash> hashes, std::int64_t now) {
    return stack_.dropped(hashes, now);
  }
  // The request's `computed` tokens of a later `target` leave HBM, from `earliest` on: when they are out, or
  // nothing where they are dropped instead.
  std::optional<std::int64_t> swap_out(Slot slot, std::int64_t computed, std::int64_t target,
                                       std::int64_t now, std::int64_t earliest);

  [[nodiscard]] const KvMoverSpec& spec() const { return spec_; }
  [[nodiscard]] const TierStack& stack() const { return stack_; }
  [[nodiscard]] const MovementCount& count() const { return count_; }
  MovementCount& count() { return count_; }
  [[nodiscard]] std::int64_t swap_blocks_used() const { return swap_used_; }
  // Time to compute tokens [from, to) of a prompt in steps of their own.
  std::int64_t prefill_ps(std::int64_t from, std::int64_t to);
  // Blocks out and in again, with the links' queues as they are.
  [[nodiscard]] std::int64_t swap_ps(std::int64_t blocks, std::int64_t earliest) const;

 private:
  struct Swapped {
    std::int64_t tokens = 0;
    std::int64_t blocks = 0;  // of swap space
    std::int64_t out_ps = 0;
  };
  // Blocks on their way from an exclusive tier, which has them until they are known to be in HBM. A request
  // that goes on behind them says so; one that is preempted before asks for them again.
  struct Coming {
    Slot slot;
    std::size_t first, last;  // of the prompt
    BlockHash back;           // of its last; being chained it stands for all before it
  };
  std::size_t blocks_to_compute(std::span<const BlockHash> found, std::int64_t cached, std::int64_t now);
  void release(Slot slot);
  [[nodiscard]] std::int64_t first_layer(const TierLink::Transfer& transfer) const;
  void arrived(std::span<const BlockHash> front);

  KvMoverSpec spec_;
  StepCost& cost_;
  TierStack stack_;
  std::vector<Swapped> swapped_;
  bool exclusive_ = false;  // some tier is
  std::vector<Coming> coming_;
  std::int64_t swap_used_ = 0;
  MovementCount count_;
};

}  // namespace tessera
