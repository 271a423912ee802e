#include "sim/memory/prefix_replay.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "sim/memory/miss_ratio_curve.hpp"
#include "sim/memory/replacement/registry.hpp"

namespace tessera {
namespace {

using Blocks = std::vector<std::uint64_t>;

DenseTrace requests(const std::vector<Blocks>& all) {
  DenseTrace trace;
  for (const Blocks& blocks : all) trace.add_request(blocks);
  return trace;
}
DenseTrace keys(const Blocks& all) {
  DenseTrace trace;
  for (const std::uint64_t key : all) trace.add_key(key);
  return trace;
}

TEST(DenseTrace, NamesKeysInOrderOfFirstUse) {
  const std::uint64_t big = ~std::uint64_t{0};
  const DenseTrace trace = requests({{big, 7}, {}, {7, 0, big}});
  EXPECT_EQ(trace.distinct(), 3u);
  EXPECT_EQ(trace.requests(), 3u);
  EXPECT_FALSE(trace.keyed());
  const auto ids = trace.references();
  EXPECT_EQ(std::vector<std::uint32_t>(ids.begin(), ids.end()), (std::vector<std::uint32_t>{0, 1, 1, 2, 0}));
  EXPECT_TRUE(trace.request(1).empty());
  EXPECT_EQ(trace.request(2).size(), 3u);
}

TEST(PrefixReplay, ARepeatedPromptHitsInFull) {
  const CacheResult result = replay("lru", requests({{1, 2, 3}, {1, 2, 3}}), kUnboundedBlocks);
  EXPECT_EQ(result.policy, "lru");
  EXPECT_EQ(result.requests, 2);
  EXPECT_EQ(result.references, 6);
  EXPECT_EQ(result.prefix_hits, 3);
  EXPECT_EQ(result.hits, 3);
  EXPECT_EQ(result.misses, 3);
  EXPECT_DOUBLE_EQ(result.prefix_hit_ratio(), 0.5);
  EXPECT_DOUBLE_EQ(result.miss_ratio(), 0.5);
}

TEST(PrefixReplay, WhatLiesBehindTheFirstMissIsNoPrefixHit) {
  const CacheResult result = replay("lru", requests({{1, 2, 3}, {1, 9, 3}}), kUnboundedBlocks);
  EXPECT_EQ(result.prefix_hits, 1);
  EXPECT_EQ(result.hits, 2);  // block 3 is resident all the same
}

TEST(PrefixReplay, LooksAtTheCacheAsItStoodBeforeTheRequest) {
  // Twice the same block in one request: only the second touch finds it, and no prefix does.
  const CacheResult result = replay("lru", requests({{5, 5}}), kUnboundedBlocks);
  EXPECT_EQ(result.prefix_hits, 0);
  EXPECT_EQ(result.hits, 1);
}

TEST(PrefixReplay, NothingIsPinnedSoALongPromptEvictsItsOwnHead) {
  // Four blocks through a cache of three leave 2 3 4: the repetition starts with a miss.
  const CacheResult result = replay("lru", requests({{1, 2, 3, 4}, {1, 2, 3, 4}}), 3);
  EXPECT_EQ(result.prefix_hits, 0);
  EXPECT_EQ(result.hits, 0);
  EXPECT_EQ(replay("lru", requests({{1, 2, 3, 4}, {1, 2, 3, 4}}), 4).prefix_hits, 4);
}

TEST(PrefixReplay, LruEvictsTheKeyUsedLongestAgo) {
  // With two keys: 1 2 1 3 evicts 2, so 1 hits again and 2 misses.
  const CacheResult result = replay("lru", keys({1, 2, 1, 3, 1, 2}), 2);
  EXPECT_EQ(result.requests, 6);
  EXPECT_EQ(result.hits, 2);
  EXPECT_EQ(result.prefix_hits, 2);
  EXPECT_DOUBLE_EQ(result.miss_ratio(), 4.0 / 6);
}

TEST(PrefixReplay, AnEmptyTraceHasNoMisses) {
  const CacheResult result = replay("lru", DenseTrace{}, 10);
  EXPECT_EQ(result.requests, 0);
  EXPECT_EQ(result.miss_ratio(), 0);
}

TEST(PrefixReplay, EveryPolicyHasANameADescriptionAndReplays) {
  ASSERT_FALSE(replacement_policies().empty());
  DenseTrace trace;
  for (const std::uint64_t key : {1, 2, 3, 1, 2, 3}) trace.add_key(key, 1, 0);
  for (const PolicyEntry& policy : replacement_policies()) {
    EXPECT_FALSE(policy.doc.empty());
    // Where everything fits, policies do not differ: each key misses once.
    EXPECT_EQ(replay(policy.name, trace, kUnboundedBlocks).misses, 3) << policy.name;
  }
}

std::string error_of(std::string_view policy, std::uint32_t blocks) {
  try {
    replay(policy, DenseTrace{}, blocks);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(PrefixReplay, RefusesUnknownPoliciesAndNoBlocks) {
  EXPECT_EQ(
      error_of("lri", 5),
      "cache: policy 'lri' is not known, expected one of fifo, lru, clock, sieve, lfu, slru, 2q, arc, lirs, "
      "s3-fifo, w-tinylfu, gdsf, length-aware, ttl, leaf-first, random, belady, did you mean 'lru'?");
  EXPECT_EQ(error_of("lru", 0), "cache: 0 blocks hold nothing, expected at least 1");
}

DenseTrace sized_keys(const std::vector<std::pair<std::uint64_t, std::uint32_t>>& all) {
  DenseTrace trace;
  for (const auto& [key, size] : all) trace.add_key(key, size);
  return trace;
}

TEST(PrefixReplay, InBytesEvictsAsManyKeysAsItTakes) {
  ReplayOptions bytes;
  bytes.bytes = true;
  // 1 and 2 fill ten bytes; 3 needs both places; 1 misses again and 3 must go.
  const DenseTrace trace = sized_keys({{1, 5}, {2, 5}, {3, 8}, {1, 5}});
  const CacheResult result = replay("lru", trace, 10, bytes);
  EXPECT_EQ(result.hits, 0);
  EXPECT_EQ(result.missed_bytes, 23);
  EXPECT_EQ(replay("lru", trace, 18, bytes).hits, 1);
  EXPECT_DOUBLE_EQ(replay("lru", trace, 18, bytes).byte_miss_ratio(), 18.0 / 23);
}

TEST(PrefixReplay, AKeyLargerThanTheCachePassesByIt) {
  ReplayOptions bytes;
  bytes.bytes = true;
  const CacheResult result = replay("fifo", sized_keys({{1, 4}, {9, 11}, {9, 11}, {1, 4}}), 10, bytes);
  EXPECT_EQ(result.hits, 1);  // key 1 is still there
  EXPECT_EQ(result.missed_bytes, 26);
}

TEST(PrefixReplay, GdsfKeepsWhatIsDearAByte) {
  // 1 and 2 fill eleven bytes. For 3, cost 1 gives up 2, the dearest to hold; 1 hits. With cost = size both
  // are worth the same a byte and the older goes first, then, for want of room, the other: as in LRU.
  const DenseTrace trace = sized_keys({{1, 1}, {2, 10}, {3, 2}, {1, 1}});
  ReplayOptions options;
  options.bytes = true;
  EXPECT_EQ(replay("gdsf", trace, 11, options).hits, 1);
  EXPECT_EQ(replay("lru", trace, 11, options).hits, 0);
  options.cost = ReplayOptions::Cost::size;
  EXPECT_EQ(replay("gdsf", trace, 11, options).hits, 0);
}

TEST(PrefixReplay, DepthMakesDeepBlocksDearToGdsf) {
  // Block 4 takes the place of 1 either way. When 1 comes back, the oldest of equals is 2; by depth 2 costs
  // twice what 3 does, and stays to hit.
  const DenseTrace trace = requests({{1, 2}, {3, 4}, {1, 2}});
  ReplayOptions deep;
  deep.cost = ReplayOptions::Cost::depth;
  EXPECT_EQ(replay("gdsf", trace, 3).hits, 0);
  EXPECT_EQ(replay("gdsf", trace, 3, deep).hits, 1);
}

TEST(PrefixReplay, TtlForgetsAfterItsLifetimeWithoutUse) {
  DenseTrace trace;
  const std::uint64_t block[] = {7};
  for (const std::int64_t second : {0, 100, 200, 301}) trace.add_request(block, second * 1'000'000'000);
  ReplayOptions options;
  options.time_to_live_ns = 100'000'000'000;
  EXPECT_EQ(replay("ttl", trace, 5, options).hits,
            2);  // at its age it still lives, a second later it does not
  EXPECT_EQ(replay("lru", trace, 5, options).hits, 3);
}

std::string refusal(std::string_view policy, const DenseTrace& trace, const ReplayOptions& options) {
  try {
    replay(policy, trace, 5, options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(PrefixReplay, RefusesWhatAPolicyOrATraceCannotServe) {
  ReplayOptions bytes, by_size;
  bytes.bytes = true;
  by_size.cost = ReplayOptions::Cost::size;
  EXPECT_EQ(refusal("ttl", keys({1}), {}), "cache: policy ttl needs a clock, but the trace has no times");
  EXPECT_EQ(refusal("arc", keys({1}), bytes),
            "cache: policy arc counts blocks and cannot fill a capacity in bytes, expected one of fifo, lru, "
            "clock, "
            "sieve, lfu, gdsf, random");
  EXPECT_EQ(refusal("lru", requests({{1}}), bytes),
            "cache: blocks have no sizes of their own, expected a key trace");
  EXPECT_EQ(refusal("gdsf", requests({{1}}), by_size),
            "cache: blocks have no sizes of their own, expected a key trace");
}

TEST(MissRatioCurve, OfASmallTraceWorkedByHand) {
  // Keys a b c a: the second a is three deep. Then a again: one deep.
  const MissRatioCurve curve(keys({1, 2, 3, 1, 1}));
  EXPECT_EQ(curve.references(), 5);
  EXPECT_EQ(curve.hits(0), 0);
  EXPECT_EQ(curve.hits(1), 1);
  EXPECT_EQ(curve.hits(2), 1);
  EXPECT_EQ(curve.hits(3), 2);
  EXPECT_EQ(curve.hits(kUnboundedBlocks), 2);
}

TEST(MissRatioCurve, OfAnEmptyTraceIsFlat) {
  const MissRatioCurve curve{DenseTrace{}};
  EXPECT_EQ(curve.hits(5), 0);
  EXPECT_EQ(curve.prefix_hits(5), 0);
}

// Reads the hash_ids of the Mooncake trace the plainest way; the readers have tests of their own.
DenseTrace mooncake(const std::string& file) {
  DenseTrace trace;
  gzFile in = gzopen(file.c_str(), "rb");
  if (in == nullptr) return trace;
  std::vector<char> line(1 << 20);
  while (gzgets(in, line.data(), static_cast<int>(line.size())) != nullptr) {
    const std::string_view text(line.data());
    const std::size_t open = text.find('[', text.find("\"hash_ids\""));
    const std::size_t close = text.find(']', open);
    if (close == std::string_view::npos) break;
    Blocks blocks;
    for (std::size_t at = open + 1; at < close;) {
      std::uint64_t id = 0;
      const auto end = std::from_chars(text.data() + at, text.data() + close, id);
      if (end.ec != std::errc{}) {
        ++at;
        continue;
      }
      blocks.push_back(id);
      at = static_cast<std::size_t>(end.ptr - text.data());
    }
    trace.add_request(blocks);
  }
  gzclose(in);
  return trace;
}

// Published: prefix hit ratios of the Mooncake conversation trace (Qin et al., FAST 2025; computed from
// the released trace, 512-token blocks) to four places.
TEST(PrefixReplay, MooncakeConversationTrace) {
  const std::string file =
      std::string(TESSERA_SHARED_DATA) + "/traces/mooncake_fast25_conversation_trace.jsonl.gz";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs the shared data: " << file;
  const DenseTrace trace = mooncake(file);
  ASSERT_EQ(trace.requests(), 12'031u);
  ASSERT_EQ(trace.references().size(), 288'500u);
  ASSERT_EQ(trace.distinct(), 182'790u);

  struct Row {
    std::uint32_t blocks;
    double prefix_hit_ratio;
  };
  const Row published[] = {{kUnboundedBlocks, 0.3664}, {100'000, 0.3637}, {50'000, 0.3546},
                           {30'000, 0.3257},           {10'000, 0.2112},  {1'000, 0.0445}};
  const MissRatioCurve curve(trace);
  for (const auto& [blocks, ratio] : published) {
    const CacheResult result = replay("lru", trace, blocks);
    EXPECT_NEAR(result.prefix_hit_ratio(), ratio, 0.00005) << blocks << " blocks";
    EXPECT_EQ(curve.prefix_hits(blocks), result.prefix_hits) << blocks << " blocks";
    EXPECT_EQ(curve.hits(blocks), result.hits) << blocks << " blocks";
  }
}

}  // namespace
}  // namespace tessera
