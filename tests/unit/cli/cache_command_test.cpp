// `tessera cache`: traces short enough to replay on paper, and what a wrong question is answered with.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "sim/cli/commands.hpp"
#include "tests/support/captured.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// One key per line.
std::string keys_file(const std::string& keys) {
  const std::string path = test::scratch("keys.txt");
  std::ofstream out(path);
  for (const char key : keys) out << key << '\n';
  return path;
}
CacheOptions of(const std::string& trace) {
  CacheOptions o;
  o.trace = trace;
  o.json = true;
  return o;
}
Json replayed(const CacheOptions& o) {
  const test::Captured run = test::captured([&] { return cache_command(o); });
  EXPECT_EQ(run.code, kOk);
  return run.json();
}
std::string complaint_of(const CacheOptions& o) {
  return test::complaint([&] { return cache_command(o); });
}

TEST(CacheCommand, HitsAreThoseOnPaper) {
  // a b c a b c in two places: LRU always throws out the next one. Belady: a b miss; c takes b's place; a
  // hits; b takes a's; c hits.
  CacheOptions o = of(keys_file("abcabc"));
  o.policies = {"lru", "fifo", "belady"};
  o.blocks = {"2", "3", "unbounded"};
  const std::int64_t hits[] = {0, 3, 3, 0, 3, 3, 2, 3, 3};
  const Json rows = replayed(o);
  ASSERT_EQ(rows.size(), 9u);
  for (std::size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(rows[i]["policy"], o.policies[i / 3]);
    EXPECT_EQ(rows[i]["hits"], hits[i]) << rows[i];
    EXPECT_EQ(rows[i]["misses"], 6 - hits[i]) << rows[i];
    EXPECT_EQ(rows[i]["requests"], 6);
    EXPECT_DOUBLE_EQ(rows[i]["miss_ratio"], static_cast<double>(6 - hits[i]) / 6);
  }
  EXPECT_EQ(rows[0]["blocks"], 2);
  EXPECT_EQ(rows[2]["blocks"], "unbounded");
}

TEST(CacheCommand, RowsHaveTheKeysOfTheInterface) {
  const Json row = replayed(of(keys_file("ab")))[0];
  for (const char* key :
       {"policy", "blocks", "requests", "hits", "misses", "miss_ratio", "prefix_hit_ratio", "requests_per_s"})
    EXPECT_TRUE(row.contains(key)) << key;
}

TEST(CacheCommand, BlocksOfAPromptHitFromItsHeadOn) {
  // Of the second prompt, blocks 1 and 2 are there, 9 is not, 4 is there but of no use: its head is missing.
  const std::string path = test::scratch("trace.csv");
  std::ofstream(path) << "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n"
                         "a,0,64,1,1 2 3 4\nb,1,64,1,1 2 9 4\n";
  const Json row = replayed(of(path))[0];
  EXPECT_EQ(row["requests"], 2);
  EXPECT_EQ(row["references"], 8);
  EXPECT_EQ(row["hits"], 3);
  EXPECT_DOUBLE_EQ(row["prefix_hit_ratio"], 2.0 / 8);
}

TEST(CacheCommand, TheExactCurveIsLruAtEveryPowerOfTwo) {
  CacheOptions o = of(keys_file("abcabcddbacbdaabc"));
  o.mrc = true;
  std::vector<Json> curve;
  for (const Json& row : replayed(o))
    if (row["policy"] == "lru-mrc") curve.push_back(row);
  ASSERT_EQ(curve.size(), 3u);  // 1, 2, 4: four keys
  for (const Json& point : curve) {
    CacheOptions one = of(o.trace);
    one.blocks = {std::to_string(point["blocks"].get<int>())};
    EXPECT_EQ(point["hits"], replayed(one)[0]["hits"]) << point;
  }
  EXPECT_EQ(curve.back()["misses"], 4) << "with room for all, each key is missed once";
}

TEST(CacheCommand, ReplicasDealTheRequestsOutInTurn) {
  // a b a b over two caches: each sees one key alone and hits it once.
  CacheOptions o = of(keys_file("abab"));
  o.blocks = {"1"};
  EXPECT_EQ(replayed(o)[0]["hits"], 0);
  o.replicas = 2;
  const Json row = replayed(o)[0];
  EXPECT_EQ(row["hits"], 2);
  EXPECT_EQ(row["replicas"], 2);
  EXPECT_EQ(row["routing"], "round-robin");
  EXPECT_DOUBLE_EQ(row["busiest_share"], 0.5);
}

TEST(CacheCommand, TheTableShowsTheSameFigures) {
  CacheOptions o = of(keys_file("abcabc"));
  o.blocks = {"3"};
  o.json = false;
  const std::string out = test::captured([&] { return cache_command(o); }).out;
  EXPECT_NE(out.find("policy"), std::string::npos);
  EXPECT_NE(out.find("0.5000"), std::string::npos) << out;
  o.blocks = {"unbounded"};
  EXPECT_NE(test::captured([&] { return cache_command(o); }).out.find("unbounded"), std::string::npos);
}

TEST(CacheErrors, SayWhatWasExpected) {
  struct {
    void (*change)(CacheOptions&);
    const char* words;
  } const cases[] = {
      {[](CacheOptions& o) { o.policies = {"lur"}; }, "did you mean 'lru'?"},
      {[](CacheOptions& o) { o.blocks = {"0"}; }, "--blocks: '0' is out of range, expected 1 to"},
      {[](CacheOptions& o) { o.blocks = {"ten"}; }, "expected a whole number"},
      {[](CacheOptions& o) { o.blocks = {"1.5"}; }, "expected a whole number"},
      {[](CacheOptions& o) { o.blocks = {"1G"}; }, "expected a whole number"},
      {[](CacheOptions& o) { o.bytes = {"0"}; }, "--bytes: '0' is out of range"},
      {[](CacheOptions& o) { o.cost = "sizes"; }, "did you mean 'size'?"},
      {[](CacheOptions& o) { o.routing = "sesion"; }, "did you mean 'session'?"},
      {[](CacheOptions& o) { o.ttl_s = 0; }, "--ttl: 0 s, expected more than 0"},
      {[](CacheOptions& o) { o.ttl_s = 2e6; }, "--ttl"},
      {[](CacheOptions& o) { o.ttl_s = std::nan(""); }, "--ttl"},
      {[](CacheOptions& o) { o.shards = 1.5; }, "--shards: 1.5, expected a rate between 0 and 1 or a whole"},
      {[](CacheOptions& o) { o.shards = -0.1; }, "--shards"},
      {[](CacheOptions& o) { o.shards = std::nan(""); }, "--shards"},
      {[](CacheOptions& o) { o.mrc = true, o.bytes = {"10"}; }, "expected --blocks"},
      {[](CacheOptions& o) { o.format = "orcale"; }, "did you mean 'oracle'?"},
      {[](CacheOptions& o) { o.trace = "/nowhere/at/all"; }, "/nowhere/at/all"},
  };
  const std::string trace = keys_file("abc");
  for (const auto& c : cases) {
    CacheOptions o = of(trace);
    c.change(o);
    const std::string message = complaint_of(o);
    EXPECT_NE(message.find(c.words), std::string::npos) << "expected '" << c.words << "' in: " << message;
  }
}

TEST(CacheErrors, AServingTraceWithoutBlocksHasNothingToCache) {
  EXPECT_NE(complaint_of(of(TESSERA_SOURCE_DIR "/traces/samples/quickstart.csv")).find("no block identities"),
            std::string::npos);
}

// Tokens and bytes count in 1024, as contexts are quoted; blocks in 1000, as people count things.
TEST(ParseTokens, SuffixesMultiply) {
  EXPECT_EQ(parse_tokens("4096", "--context"), 4096);
  EXPECT_EQ(parse_tokens("0", "--context"), 0);
  EXPECT_EQ(parse_tokens("128k", "--context"), 131'072);
  EXPECT_EQ(parse_tokens("128K", "--context"), 131'072);
  EXPECT_EQ(parse_tokens("2M", "--context"), 2'097'152);
  EXPECT_EQ(parse_tokens("0.5k", "--context"), 512);
  EXPECT_EQ(parse_tokens("64M", "--bytes"), 64LL << 20);
  EXPECT_EQ(parse_tokens("50k", "--blocks"), 50'000);
  EXPECT_EQ(parse_tokens("1.5M", "--blocks"), 1'500'000);
}

TEST(ParseTokens, WhatIsNoCountIsRefusedWithAnExample) {
  for (const char* text :
       {"", "k", "-1", "-1k", "1.5", "0.3k", "12x", "1kk", "1 k", "1e99", "nan", "inf", "0x10", "1e16", "٣"})
    EXPECT_NE(test::complaint([&] {
                return static_cast<int>(parse_tokens(text, "--context"));
              }).find("expected a whole number, e.g. 4096, 128k or 1M"),
              std::string::npos)
        << "'" << text << "'";
}

}  // namespace
}  // namespace tessera
