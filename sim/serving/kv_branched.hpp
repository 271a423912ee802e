// Paged KV of requests that answer with several sequences: n samples of one prompt, or n beams. The prompt is
// computed once; at its end the request branches into n block tables that share the prompt's full blocks,
// and each branch gets its own copy of a partly filled last block, for all write into it next. Beams also
// branch at every step: a beam that does not survive gives its blocks back and becomes a branch of another
// (beam_survival.hpp). All branches of a request are as long as the trace says and live or leave together,
// as a sequence group of vLLM V0 does.
//
// A request preempted for room is recomputed: its prompt once (found in the cache where its blocks remain)
// and what each branch had generated; the blocks branches then held in common beyond the prompt are not
// shared again. Copies are made in the step that computes the last of the prompt, one step before the write.
// Left out: the time of copies (their bytes are counted), branches that end at different lengths.
#pragma once

#include <limits>
#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/beam_survival.hpp"
#include "sim/memory/content_copies.hpp"
#include "sim/memory/copy_on_write.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class BranchedKv final : public KvMemory {
 public:
  explicit BranchedKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::size_t room_to_grow() const override {
    return pool_.free_blocks() / static_cast<std::size_t>(branches_);
  }
  void grow(std::span<const Slot> slots) override;
  [[nodiscard]] bool frees_while_decoding() const override { return beams_; }
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  [[nodiscard]] std::int64_t evictions() const override { return pool_.evictions(); }
  [[nodiscard]] std::int64_t copied_blocks() const override { return cow_.copies(); }
  [[nodiscard]] bool empty() const override { return pool_.live_blocks() == 0; }
  [[nodiscard]] std::size_t map_cells() const override { return pool_.usable_blocks(); }
  void show(std::span<BlockCell> cells) const override;
  [[nodiscard]] const BlockPool& pool() const { return pool_; }
  // Block tables of a request, its prompt's alone before it branches.
  [[nodiscard]] const std::vector<CopyOnWrite::Table>& tables_of(Slot slot) const {
    return groups_[slot].tables;
  }

 private:
  struct SavedBlock {
    BlockId id;
    std::uint32_t generation;
  };
  struct Group {
    std::int64_t input = 0, output = 0;
    std::vector<std::uint64_t> hashes;       // of full prompt blocks
    std::vector<SavedBlock> saved;           // full prompt blocks held when preempted
    std::vector<CopyOnWrite::Table> tables;  // one while the prompt is computed, then one a branch
    bool branched = false;
    std::int64_t context = 0;  // of every beam
    std::int64_t steps = 0;    // a beam still has to take
    sim::RandomStream random{0, 0};
  };

  [[nodiscard]] std::int64_t blocks_for(std::int64_t tokens) const;
  // Distinct blocks a request holds once `after` of `target` tokens are computed, if it shares nothing.
  [[nodiscard]] std::int64_t blocks_after(const Group& group, std::int64_t after, std::int64_t target) const;
  std::int64_t find_prefix(const Group& group, std::int64_t target);
  void branch(Group& group, std::int64_t context);
  void survive(Group& group);

  KvMemorySpec spec_;
  BlockPool pool_;
  CopyOnWrite cow_;
  std::int64_t branches_;
  bool beams_;
  BeamSurvival survival_;
  std::int64_t least_free_ = 0;
  bool counts_copies_ = false;
  ContentCopies copies_;  // where no prefix cache knows them
  std::vector<Group> groups_;
  std::vector<Slot> beaming_;  // requests whose beams still move
  std::vector<BlockId> hit_;
  std::vector<std::uint32_t> parents_, heir_;  // heir: the beam that goes on with a parent's table
  std::vector<CopyOnWrite::Table> next_;
  std::int64_t held_blocks_ = 0;  // per branch
  std::uint64_t arrivals_ = 0;
  Slot partial_ = std::numeric_limits<Slot>::max();  // whose blocks are allocated ahead of its tokens
  std::int64_t ahead_ = 0;                           // tokens those are for
};

}  // namespace tessera
