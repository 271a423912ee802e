// KV memory as a scheduler sees it: which request holds room for how many tokens. Requests are named by
// slots, dense and used again. One of these is chosen by name (`memory.allocator`) when a replica is made:
//   PagedKv    blocks as tokens come, shared by prefix (kv_paged.hpp)
//   GroupedKv  the same with block tables per group of layers (kv_grouped.hpp)
//   RegionKv   one contiguous region from admission to the end (kv_regions.hpp)
//   MappedKv   contiguous addresses, memory mapped behind them as tokens come (kv_mapped.hpp)
//   RadixKv    pages shared through a tree of prompts (kv_radix.hpp)
//   BranchedKv several sequences a request, copied on write (kv_branched.hpp)
// To add one: derive, and give it a line in make_kv_memory.
//
// Call order for a request: arrive, admit, extend per prompt chunk, grow per decode step that needs room,
// leave; after a leave that will come back, admit again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/memory/block_cell.hpp"

namespace tessera {

struct KvUse {                   // of one step
  std::int64_t used_blocks = 0;  // distinct blocks held by requests
  std::int64_t held_slots = 0;   // token slots of all requests' rooms, shared ones counted per holder
  std::int64_t resident = 0;     // tokens in them
  std::int64_t reserved = 0;     // slots held for tokens still to come
  std::int64_t external = 0;     // free slots that no waiting request fits into
  std::int64_t padding = 0;      // of held_slots, lost to groups of unequal layers
  std::int64_t duplicate = 0;    // of resident, tokens whose KV another block in use holds as well
  std::int64_t running = 0;
};

// Time spent on mapping memory since last asked. `ahead` of it was known to be needed when the step before
// began, the rest only when its request was scheduled.
struct MapWork {
  std::int64_t ahead_ps = 0, demanded_ps = 0;
};

struct KvPagePlan;
enum class KvAllocator : std::uint8_t { paged, contiguous_max, contiguous_pow2, contiguous_oracle, mapped };

// Memory mapped behind contiguous addresses (vAttention). Every tensor of a rank (K and V of each layer, or K
// and V of all) grows by pages of its own, all at the same pace: a row is one page in each.
struct VmmSpec {
  std::int64_t page_bytes = 2097152;
  std::int64_t tensors = 0;
  std::int64_t token_bytes = 0;  // of one token in one tensor
  std::int64_t map_ps = 0;       // per page
  std::int64_t unmap_ps = 0;
  bool defer_free = true;  // a finished request's rows stay mapped for the next one
  bool map_ahead = true;   // rows that decodes will need are mapped while the step before runs
};

struct KvMemorySpec {
  KvAllocator allocator = KvAllocator::paged;
  std::int64_t block_tokens = 16;
  std::int64_t kv_blocks = 0;      // blocks requests can hold (a null block already taken off)
  std::int64_t max_model_len = 0;  // 0: no limit but capacity
  bool prefix_cache = true;
  bool keep_drops = false;     // see drops()
  bool hashed_prompts = true;  // false: no request will bring block hashes, so none are kept
  // Rules of admission (values differ between vllm and sarathi).
  bool reserve_full_prompt = true;    // all known tokens must fit before a request is admitted
  bool allocate_full_prompt = false;  // and are allocated at once (Sarathi-Serve, vLLM V0)
  double watermark = 0;               // share of blocks admission leaves free
  // Set: blocks belong to groups of layers; null: a block spans all layers.
  std::shared_ptr<const KvPagePlan> plan;
  bool reuse_passed = false;  // pages a window has passed are the next to be overwritten, not the last
  std::int64_t max_batched_tokens = 2048;  // longest prompt chunk, for what a window needs beside itself
  // Several sequences a request.
  std::int64_t branches = 1;
  double beam_survival = 1;  // below 1: beams, each kept by a step with this probability
  std::uint64_t seed = 0;
  bool radix = false;  // the prefix cache is a tree of prompts, not an index of hashes
  VmmSpec vmm;         // of KvAllocator::mapped
};

class KvMemory {
 public:
  using Slot = std::uint32_t;
  virtual ~KvMemory() = default;

  // Why a request of these lengths can never run; empty if it can.
  [[nodiscard]] virtual std::string refusal(std::int64_t input, std::int64_t output) const = 0;
  // The slot stands for a new request. `hashes`: chained identities of its full prompt blocks.
  virtual void arrive(Slot slot, std::int64_t input, std::int64_t output,
                      std::span<const std::uint64_t> hashes) = 0;
  // Room for a request of `target` known tokens of which a step computes at most `budget`: the tokens found
  // in the prefix cache, now held, or nothing where there is no room.
  virtual std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) = 0;
  // Room for tokens `before` to `after` of `target`; false, and nothing done, where there is none.
  virtual bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) = 0;
  // For KV that is brought in from outside (paged memory alone): the request's full prompt blocks, and room,
  // known to hold nothing yet, up to token `after`. Where extend has passed it, it is as any other.
  [[nodiscard]] virtual std::span<const std::uint64_t> prompt_hashes(Slot) const { return {}; }
  virtual bool hold(Slot, std::int64_t /*after*/, std::int64_t /*target*/) { return false; }
  // Hashes of cached blocks whose content was given up, since the caller last cleared it; null: not kept.
  virtual std::vector<std::uint64_t>* drops() { return nullptr; }
  // Full blocks from the front of the prompt that are cached.
  [[nodiscard]] virtual std::size_t cached_blocks(Slot) const { return 0; }
  // How many decodes may start a new block, and a new block for each of `slots`.
  [[nodiscard]] virtual std::size_t room_to_grow() const = 0;
  virtual void grow(std::span<const Slot> slots) = 0;
  // Whether steps of decodes alone can give room back.
  [[nodiscard]] virtual bool frees_while_decoding() const { return false; }
  // Gives all room back. `computed` tokens of a request that comes back may be found again by admit.
  virtual void leave(Slot slot, std::int64_t computed, bool comes_back) = 0;

  // With `resident` tokens in it; `waits`: a request that has a seat waits for room.
  [[nodiscard]] virtual KvUse use(std::int64_t resident, bool waits) const = 0;
  [[nodiscard]] virtual std::int64_t evictions() const { return 0; }
  [[nodiscard]] virtual std::int64_t copied_blocks() const { return 0; }
  [[nodiscard]] virtual std::int64_t mapped_pages() const { return 0; }  // calls to map one
  virtual MapWork take_map_work() { return {}; }
  // Tokens at the head of a request's context in blocks that at least `users` hold.
  [[nodiscard]] virtual std::int64_t common_tokens(Slot, std::int64_t /*users*/) const { return 0; }
  // How many cells a map of this memory has, and their states now.
  [[nodiscard]] virtual std::size_t map_cells() const = 0;
  virtual void show(std::span<BlockCell> cells) const = 0;
  [[nodiscard]] virtual bool empty() const = 0;  // nobody holds anything
};

std::unique_ptr<KvMemory> make_kv_memory(const KvMemorySpec& spec);

}  // namespace tessera
