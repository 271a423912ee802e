// The same trace through caches of several replicas, each of which sees only the requests routed to it:
// what local caches lose against one global cache of all their capacity.
//
// Routing: round_robin deals requests in order. by_session sends all requests of a session to one replica
// and deals new sessions in order; where a trace names no sessions, requests that share their second block
// are one (identities of blocks are chained: they share at least two blocks of prompt; the first may be
// a system prompt common to all). A prompt of one block is a session of its own.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/memory/prefix_replay.hpp"

namespace tessera {

struct FleetResult {
  CacheResult total;         // capacity and counts are sums over the replicas
  double busiest_share = 0;  // of references, at the replica that got most
};

// Replica by request.
std::vector<std::uint32_t> route_round_robin(const DenseTrace& trace, std::uint32_t replicas);
std::vector<std::uint32_t> route_by_session(const DenseTrace& trace, std::uint32_t replicas);

// `capacity` is that of each replica.
FleetResult replay_fleet(std::string_view policy, const DenseTrace& trace, std::uint32_t replicas,
                         const std::vector<std::uint32_t>& replica_of, std::int64_t capacity,
                         const ReplayOptions& options = {});

}  // namespace tessera
