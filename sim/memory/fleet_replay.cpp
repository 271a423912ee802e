#include "sim/memory/fleet_replay.hpp"

#include <tsl/robin_map.h>

#include <algorithm>

#include "models/base/check.hpp"

namespace tessera {
namespace {

std::vector<DenseTrace> split(const DenseTrace& trace, std::uint32_t replicas,
                              const std::vector<std::uint32_t>& replica_of) {
  std::vector<DenseTrace> parts(replicas);
  std::vector<std::uint64_t> blocks;
  for (std::size_t i = 0; i < trace.requests(); ++i) {
    DenseTrace& part = parts[replica_of[i]];
    const std::int64_t time = trace.has_times() ? trace.time_ns(i) : DenseTrace::kNoTime;
    const auto ids = trace.request(i);
    if (trace.keyed()) {
      part.add_key(ids[0], trace.sizes()[ids[0]], time);
      continue;
    }
    blocks.assign(ids.begin(), ids.end());
    part.add_request(blocks, time);
  }
  return parts;
}

}  // namespace

std::vector<std::uint32_t> route_round_robin(const DenseTrace& trace, std::uint32_t replicas) {
  std::vector<std::uint32_t> replica_of(trace.requests());
  for (std::size_t i = 0; i < replica_of.size(); ++i)
    replica_of[i] = static_cast<std::uint32_t>(i % replicas);
  return replica_of;
}

std::vector<std::uint32_t> route_by_session(const DenseTrace& trace, std::uint32_t replicas) {
  constexpr std::uint32_t kUnknown = ~std::uint32_t{0};
  std::vector<std::uint32_t> replica_of(trace.requests());
  if (trace.has_sessions()) {
    tsl::robin_map<std::uint32_t, std::uint32_t> homes;
    std::uint32_t dealt = 0;
    for (std::size_t i = 0; i < replica_of.size(); ++i) {
      const std::uint32_t session = trace.session(i);
      if (session == DenseTrace::kNoSession) {
        replica_of[i] = dealt++ % replicas;
        continue;
      }
      const auto [home, fresh] = homes.try_emplace(session, dealt % replicas);
      dealt += fresh ? 1 : 0;
      replica_of[i] = home->second;
    }
    return replica_of;
  }
  std::vector<std::uint32_t> home(trace.distinct(), kUnknown);  // of a session, by its second block
  std::uint32_t next = 0;
  const auto deal = [&] { return next++ % replicas; };
  for (std::size_t i = 0; i < replica_of.size(); ++i) {
    const auto ids = trace.request(i);
    if (ids.size() < 2) {
      replica_of[i] = deal();
      continue;
    }
    if (home[ids[1]] == kUnknown) home[ids[1]] = deal();
    replica_of[i] = home[ids[1]];
  }
  return replica_of;
}

FleetResult replay_fleet(std::string_view policy, const DenseTrace& trace, std::uint32_t replicas,
                         const std::vector<std::uint32_t>& replica_of, std::int64_t capacity,
                         const ReplayOptions& options) {
  TESSERA_CHECK(replicas > 0 && replica_of.size() == trace.requests(), "each request goes to a replica");
  FleetResult fleet;
  fleet.total.policy = policy;
  fleet.total.capacity =
      capacity >= (options.bytes ? kUnboundedBytes : kUnboundedBlocks) ? capacity : capacity * replicas;
  double seconds = 0;
  std::int64_t most = 0;
  for (const DenseTrace& part : split(trace, replicas, replica_of)) {
    const CacheResult one = replay(policy, part, capacity, options);
    fleet.total.requests += one.requests;
    fleet.total.references += one.references;
    fleet.total.prefix_hits += one.prefix_hits;
    fleet.total.hits += one.hits;
    fleet.total.misses += one.misses;
    fleet.total.referenced_bytes += one.referenced_bytes;
    fleet.total.missed_bytes += one.missed_bytes;
    if (one.requests_per_s > 0) seconds += static_cast<double>(one.requests) / one.requests_per_s;
    most = std::max(most, one.references);
  }
  if (seconds > 0) fleet.total.requests_per_s = static_cast<double>(fleet.total.requests) / seconds;
  if (fleet.total.references > 0)
    fleet.busiest_share = static_cast<double>(most) / static_cast<double>(fleet.total.references);
  return fleet;
}

}  // namespace tessera
