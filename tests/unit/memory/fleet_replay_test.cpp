// Local caches of a fleet against one cache, on prompts small enough to follow by hand.
#include "sim/memory/fleet_replay.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

DenseTrace prompts(const std::vector<std::vector<std::uint64_t>>& all) {
  DenseTrace trace;
  for (const auto& blocks : all) trace.add_request(blocks);
  return trace;
}

// Two conversations, 0 1 ... and 0 2 ..., behind a common first block, and two prompts of that block alone.
const DenseTrace& talks() {
  static const DenseTrace trace = prompts({{0, 1}, {0, 2}, {0}, {0, 2, 3}, {0, 1, 4}, {0}, {0, 1, 4, 5}});
  return trace;
}
using Replicas = std::vector<std::uint32_t>;

TEST(FleetReplay, RoundRobinDealsRequestsInOrder) {
  EXPECT_EQ(route_round_robin(talks(), 3), (Replicas{0, 1, 2, 0, 1, 2, 0}));
}

TEST(FleetReplay, SessionsStayTogetherAndNewOnesAreDealt) {
  // Sessions in order: 0 1, 0 2, a lone 0, another lone 0.
  EXPECT_EQ(route_by_session(talks(), 3), (Replicas{0, 1, 2, 1, 0, 0, 0}));
}

TEST(FleetReplay, SessionsTheTraceNamesGoBeforeBlocksTheyShare) {
  DenseTrace trace;
  const std::vector<std::uint64_t> a{0, 1}, b{0, 2};
  trace.add_request(a, DenseTrace::kNoTime, 70);
  trace.add_request(a, DenseTrace::kNoTime, 80);  // another user with the same prompt
  trace.add_request(b, DenseTrace::kNoTime, 70);  // whose prompt was edited
  trace.add_request(b, DenseTrace::kNoTime, 80);
  trace.add_request(a);  // of no session: dealt in turn, as new sessions are
  trace.add_request(a, DenseTrace::kNoTime, 90);
  EXPECT_EQ(route_by_session(trace, 4), (Replicas{0, 1, 0, 1, 2, 3}));
}

TEST(FleetReplay, CountsAddUpAndTheBusiestIsNamed) {
  const FleetResult fleet = replay_fleet("lru", talks(), 3, route_by_session(talks(), 3), kUnboundedBlocks);
  EXPECT_EQ(fleet.total.requests, 7);
  EXPECT_EQ(fleet.total.references, 16);
  EXPECT_EQ(fleet.total.hits + fleet.total.misses, 16);
  // Replica 0 sees 0 1, 0 1 4, 0, 0 1 4 5: hits 2 + 1 + 3. Replica 1 sees 0 2, 0 2 3: hits 2.
  EXPECT_EQ(fleet.total.prefix_hits, 8);
  EXPECT_DOUBLE_EQ(fleet.busiest_share, 10.0 / 16);
}

TEST(FleetReplay, ScatteringASessionLosesItsHits) {
  const FleetResult scattered =
      replay_fleet("lru", talks(), 3, route_round_robin(talks(), 3), kUnboundedBlocks);
  // Replica 0: 0 1, 0 2 3, 0 1 4 5 -> 1 + 2. Replica 1: 0 2, 0 1 4 -> 1. Replica 2: 0, 0 -> 1.
  EXPECT_EQ(scattered.total.prefix_hits, 5);
}

TEST(FleetReplay, OneReplicaIsTheGlobalCache) {
  const CacheResult global = replay("arc", talks(), 3);
  const FleetResult one = replay_fleet("arc", talks(), 1, route_round_robin(talks(), 1), 3);
  EXPECT_EQ(one.total.hits, global.hits);
  EXPECT_EQ(one.total.prefix_hits, global.prefix_hits);
  EXPECT_EQ(one.total.capacity, 3);
  EXPECT_DOUBLE_EQ(one.busiest_share, 1);
}

TEST(FleetReplay, KeysKeepTheirSizes) {
  DenseTrace keys;
  for (const std::uint64_t key : {1, 2, 1, 2}) keys.add_key(key, static_cast<std::uint32_t>(10 * key));
  ReplayOptions bytes;
  bytes.bytes = true;
  const FleetResult fleet = replay_fleet("lru", keys, 2, route_round_robin(keys, 2), 20, bytes);
  EXPECT_EQ(fleet.total.referenced_bytes, 60);
  EXPECT_EQ(fleet.total.missed_bytes, 30);
  EXPECT_EQ(fleet.total.capacity, 40);
}

}  // namespace
}  // namespace tessera
