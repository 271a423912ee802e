// Mapped memory: rows of pages behind contiguous addresses.
#include "sim/serving/kv_mapped.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace tessera {
namespace {

// Pages of 1,000 bytes, tokens of 100 in each of 4 tensors: ten tokens a row.
KvMemorySpec spec_of(std::int64_t rows) {
  KvMemorySpec spec;
  spec.allocator = KvAllocator::mapped;
  spec.kv_blocks = rows;
  spec.block_tokens = 10;
  spec.prefix_cache = false;
  spec.vmm.page_bytes = 1000;
  spec.vmm.token_bytes = 100;
  spec.vmm.tensors = 4;
  spec.vmm.map_ps = 7;
  spec.vmm.unmap_ps = 5;
  return spec;
}

void run_prompt(MappedKv& kv, KvMemory::Slot slot, std::int64_t input, std::int64_t output) {
  kv.arrive(slot, input, output, {});
  ASSERT_TRUE(kv.admit(slot, input, input));
  ASSERT_TRUE(kv.extend(slot, 0, input, input));
}

TEST(MappedKv, RowsAreTokenBytesOverPageBytesRoundedUp) {
  MappedKv kv(spec_of(100));
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 31, 5));
  EXPECT_EQ(kv.rows_of(0), 4);
  EXPECT_EQ(kv.mapped_pages(), 4 * 4);
  const KvUse use = kv.use(31, false);
  EXPECT_EQ(use.held_slots, 40);
  EXPECT_EQ(use.reserved, 35 - 31) << "31 + 5 - 1 are stored at the end";
}

TEST(MappedKv, ATokenMayStraddlePages) {
  KvMemorySpec spec = spec_of(100);
  spec.vmm.token_bytes = 300;  // 3.33 tokens a page
  spec.block_tokens = 3;
  MappedKv kv(spec);
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 9, 5));
  EXPECT_EQ(kv.rows_of(0), 3);  // 2,700 bytes; whole tokens a page would need 3 too
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 1, 30, 5));
  EXPECT_EQ(kv.rows_of(1), 9);  // 9,000 bytes, where 3 tokens a page would take 10
}

TEST(MappedKv, APromptIsMappedOnDemandAndDecodesAhead) {
  MappedKv kv(spec_of(100));
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 20, 30));
  MapWork work = kv.take_map_work();
  EXPECT_EQ(work.demanded_ps, 2 * 4 * 7);
  EXPECT_EQ(work.ahead_ps, 0);
  const KvMemory::Slot slot = 0;
  kv.grow({&slot, 1});
  work = kv.take_map_work();
  EXPECT_EQ(work.demanded_ps, 0);
  EXPECT_EQ(work.ahead_ps, 1 * 4 * 7);
  EXPECT_EQ(kv.take_map_work().ahead_ps, 0) << "told once";
}

TEST(MappedKv, AFinishedRequestsRowsServeTheNextWithoutACall) {
  MappedKv kv(spec_of(100));
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 50, 1));
  kv.leave(0, 50, false);
  EXPECT_TRUE(kv.empty());
  EXPECT_EQ(kv.idle_rows(), 5);
  const std::int64_t calls = kv.mapped_pages();
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 1, 40, 1));
  EXPECT_EQ(kv.mapped_pages(), calls);
  EXPECT_EQ(kv.rows_of(1), 5) << "the region comes whole";
}

TEST(MappedKv, TheBestFittingIdleRegionIsTaken) {
  MappedKv kv(spec_of(100));
  for (KvMemory::Slot slot = 0; slot < 3; ++slot)
    ASSERT_NO_FATAL_FAILURE(run_prompt(kv, slot, 20 + 20 * slot, 1));
  for (KvMemory::Slot slot = 0; slot < 3; ++slot) kv.leave(slot, 1, false);
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 3, 31, 1));
  EXPECT_EQ(kv.rows_of(3), 4) << "of 2, 4 and 6 rows the smallest that holds 4";
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 4, 90, 1));
  EXPECT_EQ(kv.rows_of(4), 9) << "none holds it: the largest, grown";
}

TEST(MappedKv, IdleRowsAreUnmappedWhenMemoryRunsOut) {
  MappedKv kv(spec_of(10));
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 60, 1));
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 1, 30, 1));
  kv.leave(0, 60, false);
  kv.leave(1, 30, false);
  kv.take_map_work();
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 2, 100, 1));
  EXPECT_EQ(kv.rows_of(2), 10);
  EXPECT_EQ(kv.idle_rows(), 0);
  EXPECT_EQ(kv.take_map_work().demanded_ps, 3 * 4 * 5 + 4 * 4 * 7) << "three unmapped, four mapped";
  kv.audit();
}

TEST(MappedKv, WithoutDeferredFreeEveryRowIsUnmappedAtTheEnd) {
  KvMemorySpec spec = spec_of(100);
  spec.vmm.defer_free = false;
  MappedKv kv(spec);
  ASSERT_NO_FATAL_FAILURE(run_prompt(kv, 0, 50, 1));
  kv.take_map_work();
  kv.leave(0, 50, false);
  EXPECT_EQ(kv.idle_rows(), 0);
  EXPECT_EQ(kv.take_map_work().demanded_ps, 5 * 4 * 5);
}

TEST(MappedKv, WhatCanNeverFitIsRefusedWithAReason) {
  const MappedKv kv(spec_of(10));
  EXPECT_EQ(kv.refusal(60, 41), "");
  EXPECT_NE(kv.refusal(60, 42), "");
}

TEST(MappedKv, TheSamePromptHeldTwiceIsDuplicate) {
  MappedKv kv(spec_of(100));
  const std::vector<std::uint64_t> prompt{11, 12, 13};
  for (KvMemory::Slot slot = 0; slot < 3; ++slot) {
    kv.arrive(slot, 35, 2, prompt);
    ASSERT_TRUE(kv.admit(slot, 35, 35));
    ASSERT_TRUE(kv.extend(slot, 0, slot == 2 ? 20 : 35, 35));
  }
  EXPECT_EQ(kv.use(90, false).duplicate, (3 + 2) * 10);
  kv.leave(0, 35, false);
  EXPECT_EQ(kv.use(55, false).duplicate, 2 * 10);
}

// Rows in use, idle and unmapped stay what there is, whatever comes.
RC_GTEST_PROP(MappedKvProperty, NoRowIsLostOrHeldTwice, ()) {
  KvMemorySpec spec = spec_of(*rc::gen::inRange(10, 60));
  spec.vmm.defer_free = *rc::gen::arbitrary<bool>();
  spec.vmm.token_bytes = *rc::gen::element<std::int64_t>(70, 100, 2500);
  spec.block_tokens = std::max<std::int64_t>(1, spec.vmm.page_bytes / spec.vmm.token_bytes);
  MappedKv kv(spec);
  std::map<KvMemory::Slot, std::int64_t> live;  // by slot: tokens it has room for
  for (int step = 0; step < 400; ++step) {
    const auto slot = static_cast<KvMemory::Slot>(*rc::gen::inRange(0, 6));
    if (live.count(slot) == 0) {
      const std::int64_t input = *rc::gen::inRange(1, 60);
      if (!kv.refusal(input, 100).empty()) continue;
      kv.arrive(slot, input, 100, {});
      if (!kv.admit(slot, input, 100)) continue;
      RC_ASSERT(kv.extend(slot, 0, input, input));
      live[slot] = input;
    } else if (*rc::gen::inRange(0, 3) > 0 && kv.room_to_grow() > 0) {
      kv.grow({&slot, 1});
      live[slot] += spec.block_tokens;
    } else {
      kv.leave(slot, live[slot], false);
      live.erase(slot);
    }
    kv.audit();
    std::int64_t mapped = 0;
    for (const auto& [which, tokens] : live) {
      RC_ASSERT(kv.rows_of(which) * spec.vmm.page_bytes >= tokens * spec.vmm.token_bytes);
      mapped += kv.rows_of(which);
    }
    RC_ASSERT(kv.use(0, false).used_blocks <= mapped);
    RC_ASSERT(mapped + kv.idle_rows() <= spec.kv_blocks);
  }
}

}  // namespace
}  // namespace tessera
