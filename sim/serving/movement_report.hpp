// What moved during a run, summed over its engines: for summary.json and people.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/serving/kv_mover.hpp"

namespace tessera {

class Replica;
class Metrics;

// One direction of one link, or of the links of its kind.
struct LinkTraffic {
  std::int64_t transfers = 0, bytes = 0;
  double queued_s = 0;         // mean wait of a transfer
  double busy = 0;             // share of the span that is reserved
  double gb_s = 0;             // bytes / span, all links of the kind
  double percent_of_peak = 0;  // of gb_s / the links' peak one way
  double gb_s_when_busy = 0;   // of one link
};

struct LinkReport {
  std::string name;  // no other has it
  std::int64_t links = 1;
  double peak_gb_s = 0;  // of one
  double span_s = 0;     // until the last token, or until the last transfer over them ends if that is later
  LinkTraffic read, write;
};

struct TierReport {
  std::string name, policy, scope;
  std::int64_t capacity_blocks = 0;  // of one store
  std::int64_t stores = 1;
  std::int64_t resident_blocks = 0;
  std::int64_t stored_bytes = 0;  // of one block
  TierStack::Count count;
  TierStore::Count store;
  [[nodiscard]] std::int64_t bytes_out() const { return (count.loaded + count.read_ahead) * stored_bytes; }
  double drive_writes_per_day = 0;  // bytes written / capacity / days of its link's span
};

struct MovementReport {
  std::vector<LinkReport> links;  // the host link first
  std::vector<TierReport> tiers;
  MovementCount count;
  std::int64_t block_bytes = 0;
  std::int64_t swap_blocks = 0;  // room
};

// Checks first that nothing was lost (TierStack::audit).
MovementReport movement_report(const std::vector<std::unique_ptr<Replica>>& replicas, const Metrics& metrics);

}  // namespace tessera
