// Which prompts share which blocks.
#include "sim/serving/prompt_blocks.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

std::vector<std::uint64_t> named(PromptBlocks& blocks, const Request& request) {
  const auto hashes = blocks.hashes(request);
  return {hashes.begin(), hashes.end()};
}

Request prompt(std::int32_t tokens, const std::vector<std::uint64_t>& ids = {}) {
  Request request;
  request.input_tokens = tokens;
  request.blocks = ids;
  return request;
}

TEST(PromptBlocks, ATraceBlockIsAsManyEngineBlocksAsItHolds) {
  PromptBlocks blocks({.trace_tokens = 64, .engine_tokens = 16});
  const std::vector<std::uint64_t> ids{7, 8};
  EXPECT_EQ(named(blocks, prompt(128, ids)).size(), 8U);
  EXPECT_EQ(named(blocks, prompt(90, ids)).size(), 5U) << "only what the prompt fills";
  const std::vector<std::uint64_t> other{7, 9};
  const auto a = named(blocks, prompt(128, ids)), b = named(blocks, prompt(128, other));
  EXPECT_EQ(std::vector(a.begin(), a.begin() + 4), std::vector(b.begin(), b.begin() + 4));
  for (std::size_t i = 4; i < 8; ++i) EXPECT_NE(a[i], b[i]);
}

TEST(PromptBlocks, NamesOf64BitsStayApart) {
  PromptBlocks blocks({.trace_tokens = 512, .engine_tokens = 16});  // 32 pieces: the upper bits must count
  const std::vector<std::uint64_t> low{7, 8}, high{7 + (1ULL << 59U), 8 + (1ULL << 59U)};
  const auto a = named(blocks, prompt(1024, low)), b = named(blocks, prompt(1024, high));
  ASSERT_EQ(a.size(), 64U);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NE(a[i], b[i]) << i;
}

TEST(PromptBlocks, OfOneTokenTheyNameEveryToken) {
  PromptBlocks blocks({.trace_tokens = 64, .engine_tokens = 1});
  const std::vector<std::uint64_t> ids{7, 8};
  EXPECT_EQ(named(blocks, prompt(100, ids)).size(), 100U);
}

TEST(PromptBlocks, ASystemPromptIsSharedWithinItsClass) {
  PromptBlocks blocks({.trace_tokens = 0, .engine_tokens = 16, .shared_prefix_tokens = 100});
  Request a = prompt(500), b = prompt(300), c = prompt(500);
  a.prompt_class = b.prompt_class = 1, c.prompt_class = 2;
  EXPECT_EQ(named(blocks, a).size(), 6U) << "100 tokens fill six blocks";
  EXPECT_EQ(named(blocks, a), named(blocks, b));
  EXPECT_NE(named(blocks, a).front(), named(blocks, c).front());
  EXPECT_EQ(named(blocks, prompt(40)).size(), 2U) << "a shorter prompt is all prefix";
}

TEST(PromptBlocks, ASaltKeepsTenantsOrSessionsApart) {
  const std::vector<std::uint64_t> ids{7, 8};
  Request a = prompt(32, ids), b = prompt(32, ids);
  a.tenant = 1, b.tenant = 2, a.session = 5, b.session = 5;
  PromptBlocks none({.trace_tokens = 16, .engine_tokens = 16});
  EXPECT_EQ(named(none, a), named(none, b));
  PromptBlocks tenants({.trace_tokens = 16, .engine_tokens = 16, .salt = CacheSalt::tenant});
  const auto of_a = named(tenants, a), of_b = named(tenants, b);
  for (std::size_t i = 0; i < of_a.size(); ++i) EXPECT_NE(of_a[i], of_b[i]);
  b.tenant = 1;
  EXPECT_EQ(of_a, named(tenants, b));
  a.tenant = b.tenant = 0;
  EXPECT_EQ(named(tenants, a), named(none, b)) << "no tenant named: nothing is salted";
  PromptBlocks sessions({.trace_tokens = 16, .engine_tokens = 16, .salt = CacheSalt::session});
  EXPECT_EQ(named(sessions, a), named(sessions, b));
  b.session = 6;
  EXPECT_NE(named(sessions, a), named(sessions, b));
}

TEST(PromptBlocks, SizesThatDoNotDivideLeaveSharingOutAndSaySo) {
  PromptBlocks blocks({.trace_tokens = 48, .engine_tokens = 32});
  const std::vector<std::uint64_t> ids{7, 8};
  EXPECT_TRUE(named(blocks, prompt(96, ids)).empty());
  EXPECT_NE(blocks.problem().find("neither divides"), std::string::npos);
}

}  // namespace
}  // namespace tessera
