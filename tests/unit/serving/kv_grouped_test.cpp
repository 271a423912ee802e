// Block tables per group: what windows give back, what a prefix hit needs, and that a plain model is
// untouched.
#include "sim/serving/kv_grouped.hpp"

#include <gtest/gtest.h>

#include "models/base/units.hpp"
#include "sim/memory/block_hash.hpp"
#include "sim/serving/kv_paged.hpp"

namespace tessera {
namespace {

// Layers of two heads x 16 in bf16; blocks of 4 tokens.
KvLayout layout_of(const std::string& rest) {
  Model model;
  read_spec(
      parse_yaml(
          "hidden: 128\nvocab: 1000\nmax_position: 100000\nattention: {heads: 8, kv_heads: 2, head_dim: "
          "16}\nffn: {intermediate: 256}\n" +
              rest,
          "m.yaml"),
      model);
  return make_kv_layout(model, DType::bf16);
}
const std::string kMixed =
    "layers: 4\nkinds: [{name: w, retention: window, window: 8}, {name: g}]\npattern: [w, g]\n";
constexpr std::size_t kWindow = 0, kFull = 1;

KvMemorySpec spec_of(const std::string& model, std::int64_t blocks) {
  KvMemorySpec spec;
  spec.block_tokens = 4;
  spec.kv_blocks = blocks;
  spec.max_batched_tokens = 16;
  spec.plan = std::make_shared<const KvPagePlan>(plan_pages(layout_of(model), 4, 8));
  return spec;
}
// Chained identities of a prompt's full blocks; prompts of one family share all of them.
std::vector<std::uint64_t> hashes(std::int64_t tokens, std::uint64_t family = 1) {
  std::vector<std::uint64_t> list;
  BlockHash parent = kChainRoot;
  for (std::int64_t i = 0; i < tokens / 4; ++i)
    list.push_back(parent = chain_hash(parent, family * 1000 + static_cast<std::uint64_t>(i)));
  return list;
}
// A whole prompt in chunks of at most 16 tokens; the tokens found in the cache.
std::int64_t play_prompt(KvMemory& kv, KvMemory::Slot slot, std::int64_t tokens, std::uint64_t family = 1) {
  kv.arrive(slot, tokens, 10, hashes(tokens, family));
  const std::optional<std::int64_t> hit = kv.admit(slot, tokens, 16);
  EXPECT_TRUE(hit.has_value());
  for (std::int64_t at = *hit; at < tokens; at += 16)
    EXPECT_TRUE(kv.extend(slot, at, std::min(tokens, at + 16), tokens));
  return *hit;
}

TEST(GroupedKv, AWindowGivesBackWhatItHasPassed) {
  GroupedKv kv(spec_of(kMixed, 200));
  play_prompt(kv, 0, 64);
  EXPECT_EQ(kv.blocks_of(0, kFull), 16);
  // The last chunk began at token 48: its window reaches back to token 41, in page 10 of 16.
  EXPECT_EQ(kv.blocks_of(0, kWindow), 16 - 10);
  const KvMemory::Slot slots[] = {0};
  for (int i = 0; i < 10; ++i) kv.grow(slots);
  EXPECT_EQ(kv.blocks_of(0, kFull), 26);
  EXPECT_EQ(kv.blocks_of(0, kWindow), 3);  // 8 tokens lie in at most three pages of 4
  kv.leave(0, 104, false);
  EXPECT_TRUE(kv.empty());
}

TEST(GroupedKv, SinksStayWithTheirWindow) {
  GroupedKv kv(
      spec_of("layers: 2\nkinds: [{name: s, retention: window, window: 8, sinks: 5}]\npattern: [s]\n", 100));
  play_prompt(kv, 0, 96);
  EXPECT_EQ(kv.blocks_of(0, 0), 2 + (24 - 18));  // two pages of sinks; token 80 looks back to 73, in page 18
  kv.leave(0, 96, false);
  EXPECT_TRUE(kv.empty());
}

TEST(GroupedKv, AFullyKeptPrefixIsFoundAgain) {
  GroupedKv kv(spec_of(kMixed, 200));
  EXPECT_EQ(play_prompt(kv, 0, 64), 0);
  kv.leave(0, 64, false);
  EXPECT_EQ(play_prompt(kv, 1, 64), 60);  // never the last token
}

// Requests of another family take the freed window pages first. As long as the pages of the last window are
// there, the hit is whole; the full group alone is not enough.
TEST(GroupedKv, AHitNeedsTheLastWindowButNotWhatLiesBefore) {
  const std::int64_t prompt = 64;
  // Pages: 16 of the full group, and 16 of the window group of which 10 are free when the prompt ends.
  GroupedKv roomy(spec_of(kMixed, 40));
  play_prompt(roomy, 0, prompt);
  play_prompt(roomy, 1, 16, 2);  // 4 + 4 blocks: fresh ones, as 14 of 40 were never used
  roomy.leave(1, 16, false);
  roomy.leave(0, prompt, false);
  EXPECT_EQ(play_prompt(roomy, 0, prompt), 60);

  GroupedKv tight(spec_of(kMixed, 32));
  play_prompt(tight, 0, prompt);
  play_prompt(tight, 1, 16, 2);  // 8 of the window's 10 passed pages are overwritten
  tight.leave(1, 16, false);
  tight.leave(0, prompt, false);
  EXPECT_EQ(play_prompt(tight, 0, prompt), 60);
}

// A prompt that continues elsewhere after 32 tokens needs the window before token 32. Once those pages are
// overwritten nothing is hit, although the full group still has all of it.
TEST(GroupedKv, AShorterPrefixIsLostWithItsWindow) {
  const auto family_from_32 = [] {
    std::vector<std::uint64_t> list = hashes(32);
    BlockHash parent = list.back();
    for (std::uint64_t i = 0; i < 8; ++i) list.push_back(parent = chain_hash(parent, 777 + i));
    return list;
  };
  const auto hit_of = [&](std::int64_t blocks, std::int64_t others) {
    GroupedKv kv(spec_of(kMixed, blocks));
    play_prompt(kv, 0, 64);
    if (others > 0) play_prompt(kv, 1, others, 2), kv.leave(1, others, false);
    kv.arrive(2, 64, 10, family_from_32());
    return kv.admit(2, 64, 16).value_or(-1);
  };
  EXPECT_EQ(hit_of(200, 0), 32);
  EXPECT_EQ(hit_of(200, 16), 32);
  EXPECT_EQ(hit_of(64, 88), 0);  // 44 pages: the 32 that were never used and all that the window gave back
}

TEST(GroupedKv, AdmissionCountsAWindowOnceNotThePrompt) {
  // 100 tokens: 25 pages of the full group; of the window group one chunk of 4.
  GroupedKv kv(spec_of(kMixed, 35));
  kv.arrive(0, 100, 2, {});
  EXPECT_TRUE(kv.admit(0, 100, 16).has_value());
  GroupedKv small(spec_of(kMixed, 28));
  small.arrive(0, 100, 2, {});
  EXPECT_FALSE(small.admit(0, 100, 16).has_value());
}

TEST(GroupedKv, ARequestThatCannotFitAloneIsRefused) {
  GroupedKv kv(spec_of(kMixed, 40));
  EXPECT_EQ(kv.refusal(100, 2), "");
  EXPECT_NE(kv.refusal(200, 2), "");
}

// Four families of 48 tokens take 24 pages each, of which six are passed. Left last in the queue, 96 pages go
// through 80 blocks and the first family is gone; overwritten first, 72 do.
TEST(GroupedKv, PassedPagesMayBeOverwrittenBeforeOthers) {
  const auto hit_after_others = [](bool reuse) {
    KvMemorySpec spec = spec_of(kMixed, 80);
    spec.reuse_passed = reuse;
    GroupedKv kv(spec);
    for (const std::uint64_t family : {1U, 2U, 3U, 4U}) {
      play_prompt(kv, 0, 48, family);
      kv.leave(0, 48, false);
    }
    EXPECT_TRUE(kv.empty());
    kv.pool().audit();
    return play_prompt(kv, 0, 48, 1);
  };
  EXPECT_EQ(hit_after_others(false), 0);
  EXPECT_EQ(hit_after_others(true), 44);
}

// The first decode passes pages 10 to 13 of the window group and takes two of them for itself; another
// request that branches off at token 48 still finds the other two.
TEST(GroupedKv, APassedPageIsStillFoundUntilItIsOverwritten) {
  KvMemorySpec spec = spec_of(kMixed, 200);
  spec.reuse_passed = true;
  GroupedKv kv(spec);
  play_prompt(kv, 0, 64);
  const KvMemory::Slot slots[] = {0};
  kv.grow(slots);
  kv.arrive(1, 49, 10, hashes(48));
  EXPECT_EQ(kv.admit(1, 49, 16), 48);
  EXPECT_TRUE(kv.extend(1, 48, 49, 49));
  kv.leave(0, 65, false);
  kv.leave(1, 49, false);
  EXPECT_TRUE(kv.empty());
  kv.pool().audit();
}

// A state is copied every 8 tokens; a hit starts where a copy is.
TEST(GroupedKv, AStateIsFoundOnlyAtItsSnapshots) {
  const std::string hybrid =
      "layers: 4\nkinds: [{name: m, mixer: recurrent}, {name: g}]\npattern: [m, g]\n"
      "recurrent: {kind: mamba2, heads: 4, head_dim: 8, state: 8, groups: 1, conv_kernel: 4}\n";
  GroupedKv kv(spec_of(hybrid, 400));
  play_prompt(kv, 0, 60);
  kv.leave(0, 60, false);
  kv.arrive(1, 47, 2, hashes(47));
  EXPECT_EQ(kv.admit(1, 47, 16), 40);  // 44 tokens are in full blocks, 40 have a snapshot
}

TEST(GroupedKv, ARingOfSurvivorsIsNeverFoundAgain) {
  GroupedKv kv(spec_of(
      "layers: 2\nkinds: [{name: c, retention: cascade, window: 16, cascades: 2, sinks: 4}]\npattern: [c]\n",
      50));
  play_prompt(kv, 0, 64);
  EXPECT_EQ(kv.blocks_of(0, 0), 5);  // 4 sinks and 16 slots
  kv.leave(0, 64, false);
  EXPECT_EQ(play_prompt(kv, 1, 64), 0);
}

TEST(GroupedKv, APreemptedRequestFindsItsOwnPages) {
  GroupedKv kv(spec_of(kMixed, 200));
  kv.arrive(0, 40, 30, {});  // nothing to share
  ASSERT_TRUE(kv.admit(0, 40, 48).has_value());
  ASSERT_TRUE(kv.extend(0, 0, 40, 40));
  const KvMemory::Slot slots[] = {0};
  kv.grow(slots);
  kv.leave(0, 44, true);
  EXPECT_EQ(kv.admit(0, 45, 16), 44);
}

TEST(GroupedKv, PaddingOfUnequalGroupsIsCounted) {
  // Three window layers to one full: three tables of window layers, none padded; two to three: padded.
  GroupedKv even(spec_of(
      "layers: 4\nkinds: [{name: w, retention: window, window: 8}, {name: g}]\npattern: [w*3, g]\n", 200));
  play_prompt(even, 0, 16);
  EXPECT_EQ(even.use(0, false).padding, 0);
  GroupedKv odd(spec_of(
      "layers: 5\nkinds: [{name: w, retention: window, window: 8}, {name: g}]\npattern: [w*3, g*2]\n", 200));
  play_prompt(odd, 0, 16);
  // Blocks of 2 layers: the second table of window layers has an empty place in each of its 4 blocks.
  EXPECT_EQ(odd.use(0, false).padding * 2, 4 * 4);
}

// Any sequence of prompts, growth and departures: a plain model's tables are those of the plain allocator.
TEST(GroupedKv, APlainModelIsHeldAsByThePlainAllocator) {
  const std::string plain = "layers: 4\n";
  KvMemorySpec spec = spec_of(plain, 64);
  GroupedKv grouped(spec);
  spec.plan = nullptr;
  PagedKv paged(spec);
  std::uint64_t state = 1;
  const auto draw = [&](std::uint64_t bound) { return (state = mix64(state + 0x9E3779B97F4A7C15)) % bound; };
  struct Live {
    bool in = false;
    std::int64_t computed = 0;
  } live[4];
  for (int i = 0; i < 2000; ++i) {
    const auto slot = static_cast<KvMemory::Slot>(draw(4));
    Live& one = live[slot];
    if (!one.in) {
      const auto tokens = static_cast<std::int64_t>(1 + draw(60));
      const std::uint64_t family = 1 + draw(3);
      for (KvMemory* kv : {static_cast<KvMemory*>(&grouped), static_cast<KvMemory*>(&paged)})
        kv->arrive(slot, tokens, 20, hashes(tokens, family));
      const auto a = grouped.admit(slot, tokens, 64), b = paged.admit(slot, tokens, 64);
      ASSERT_EQ(a, b);
      if (!a) continue;
      ASSERT_EQ(grouped.extend(slot, *a, tokens, tokens), paged.extend(slot, *b, tokens, tokens));
      one = {true, tokens};
    } else if (draw(3) > 0 && grouped.room_to_grow() > 0) {
      const std::int64_t to_boundary = ceil_div(one.computed, 4) * 4;
      const KvMemory::Slot slots[] = {slot};
      grouped.grow(slots), paged.grow(slots);
      one.computed = to_boundary + 4;
    } else {
      grouped.leave(slot, one.computed, false), paged.leave(slot, one.computed, false);
      one.in = false;
    }
    ASSERT_EQ(grouped.pool().live_blocks(), paged.pool().live_blocks());
    ASSERT_EQ(grouped.evictions(), paged.evictions());
  }
  grouped.pool().audit();
}

}  // namespace
}  // namespace tessera
