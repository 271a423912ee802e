// Contiguous KV: a request takes one region of a buddy memory at admission and keeps it to its end, so that
// it neither grows nor is preempted, and shares nothing. Its size (arXiv 2309.06180 section 6.1):
//   contiguous-max     the longest request there can be (Orca Max)
//   contiguous-pow2    prompt + output rounded up to a power of two (Orca Pow2)
//   contiguous-oracle  exactly what will be stored (Orca Oracle)
// each then rounded up to a power of two by the buddy system. Waste: reserved = slots its later tokens will
// use, internal = slots it never uses, external = free slots while a request waits that none of them can take
// in.
#pragma once

#include <vector>

#include "sim/memory/buddy.hpp"
#include "sim/memory/content_copies.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class RegionKv final : public KvMemory {
 public:
  explicit RegionKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::size_t room_to_grow() const override { return ~std::size_t{0}; }
  void grow(std::span<const Slot>) override {}
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  [[nodiscard]] bool empty() const override { return memory_.held() == 0; }
  [[nodiscard]] std::size_t map_cells() const override { return static_cast<std::size_t>(spec_.kv_blocks); }
  void show(std::span<BlockCell> cells) const override;

 private:
  struct Holder {
    std::int64_t size = 0;  // asked for
    std::int64_t last = 0;  // tokens stored at its end
    BuddyMemory::Region region;
  };
  [[nodiscard]] std::int64_t region_tokens(std::int64_t input, std::int64_t output) const;

  KvMemorySpec spec_;
  BuddyMemory memory_;
  std::vector<Holder> holders_;
  ContentCopies copies_;
  std::int64_t last_ = 0;  // of all that hold a region
};

}  // namespace tessera
