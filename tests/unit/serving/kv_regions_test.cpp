// Contiguous regions: how large each policy makes them, what is refused, and what their slots count as.
#include "sim/serving/kv_regions.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace tessera {
namespace {

// 64 blocks of 16: 1,024 token slots in one piece.
KvMemorySpec spec_of(KvAllocator allocator, std::int64_t longest = 200) {
  KvMemorySpec spec;
  spec.allocator = allocator;
  spec.kv_blocks = 64;
  spec.block_tokens = 16;
  spec.max_model_len = longest;
  return spec;
}
std::int64_t held_by(KvAllocator allocator, std::int64_t input, std::int64_t output) {
  RegionKv kv(spec_of(allocator));
  kv.arrive(0, input, output, {});
  EXPECT_EQ(kv.admit(0, input, 512), 0) << "nothing is shared";
  return kv.use(0, false).held_slots;
}

TEST(RegionKv, RegionsAreOfTheLongestRequestTheRoundedAnswerOrWhatIsNeeded) {
  // 40 + 20 tokens, of which the last is never stored.
  EXPECT_EQ(held_by(KvAllocator::contiguous_max, 40, 20), 256);     // max_model_len 200
  EXPECT_EQ(held_by(KvAllocator::contiguous_pow2, 40, 20), 128);    // 40 + 32 = 72
  EXPECT_EQ(held_by(KvAllocator::contiguous_oracle, 40, 20), 64);   // 59
  EXPECT_EQ(held_by(KvAllocator::contiguous_oracle, 40, 25), 64);   // 64 to the slot
  EXPECT_EQ(held_by(KvAllocator::contiguous_oracle, 40, 26), 128);  // one more
  EXPECT_EQ(held_by(KvAllocator::contiguous_pow2, 96, 32), 128);    // 128 to the slot
  EXPECT_EQ(held_by(KvAllocator::contiguous_oracle, 1, 1), 1);
}

TEST(RegionKv, RefusesWhatTheLargestRegionCannotHold) {
  const RegionKv oracle(spec_of(KvAllocator::contiguous_oracle));
  EXPECT_EQ(oracle.refusal(1000, 25), "");  // 1,024
  EXPECT_NE(oracle.refusal(1000, 26), "");
  const RegionKv rounded(spec_of(KvAllocator::contiguous_pow2));
  EXPECT_EQ(rounded.refusal(1000, 16), "");  // 1,016
  EXPECT_NE(rounded.refusal(1000, 17), "");  // 1,032
  EXPECT_EQ(RegionKv(spec_of(KvAllocator::contiguous_max, 1024)).refusal(1, 1), "");
  EXPECT_NE(RegionKv(spec_of(KvAllocator::contiguous_max, 1025)).refusal(1, 1), "");
}

TEST(RegionKv, SlotsHoldTokensAreReservedOrRounding) {
  RegionKv kv(spec_of(KvAllocator::contiguous_oracle));
  kv.arrive(0, 40, 20, {});
  kv.admit(0, 40, 512);
  const KvUse use = kv.use(45, false);
  EXPECT_EQ(use.held_slots, 64);
  EXPECT_EQ(use.used_blocks, 4);
  EXPECT_EQ(use.resident, 45);
  EXPECT_EQ(use.reserved, 59 - 45) << "tokens it will store yet; the rest of 64 is rounding";
  EXPECT_EQ(use.external, 0) << "nobody waits for what is free";
  EXPECT_EQ(kv.use(45, true).external, 1024 - 64);
}

TEST(RegionKv, EqualPromptsAreHeldTwice) {
  RegionKv kv(spec_of(KvAllocator::contiguous_oracle));
  const std::vector<std::uint64_t> prompt{1, 2, 3};
  for (const KvMemory::Slot slot : {0u, 1u}) {
    kv.arrive(slot, 50, 5, prompt);
    kv.admit(slot, 50, 512);
  }
  kv.extend(0, 0, 50, 50);
  EXPECT_EQ(kv.use(50, false).duplicate, 0);
  kv.extend(1, 0, 32, 50);
  EXPECT_EQ(kv.use(82, false).duplicate, 2 * 16) << "of full blocks computed so far";
  kv.leave(0, 50, false);
  EXPECT_EQ(kv.use(32, false).duplicate, 0);
}

TEST(RegionKv, EveryRegionIsApartAndGivenBackWhole) {
  EXPECT_TRUE(rc::check([] {
    RegionKv kv(spec_of(*rc::gen::element(KvAllocator::contiguous_oracle, KvAllocator::contiguous_pow2,
                                          KvAllocator::contiguous_max)));
    std::map<KvMemory::Slot, std::int64_t> stored;  // of those admitted
    for (int i = *rc::gen::inRange(1, 60); i > 0; --i) {
      const auto slot = *rc::gen::inRange<KvMemory::Slot>(0, 8);
      if (stored.contains(slot)) {
        kv.leave(slot, stored[slot], *rc::gen::arbitrary<bool>());
        stored.erase(slot);
      } else {
        const auto input = *rc::gen::inRange<std::int64_t>(1, 150),
                   output = *rc::gen::inRange<std::int64_t>(1, 50);
        kv.arrive(slot, input, output, {});
        if (kv.admit(slot, input, 512)) stored[slot] = input + output - 1;
      }
      std::int64_t tokens = 0;
      for (const auto& [holder, count] : stored) tokens += count;
      const KvUse use = kv.use(tokens, true);
      RC_ASSERT(use.held_slots >= tokens);
      RC_ASSERT(use.reserved == 0);
      RC_ASSERT(use.held_slots + use.external == 1024);
      RC_ASSERT(kv.empty() == stored.empty());
      // Regions do not overlap: as many blocks of the map are held as their tokens fill.
      std::vector<BlockCell> cells(kv.map_cells());
      kv.show(cells);
      std::int64_t held = 0;
      for (const BlockCell& cell : cells) held += cell.state == BlockCell::State::held ? 1 : 0;
      RC_ASSERT(held * 16 >= tokens);
    }
  }));
}

}  // namespace
}  // namespace tessera
