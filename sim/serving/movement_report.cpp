#include "sim/serving/movement_report.hpp"

#include <algorithm>

#include "sim/serving/metrics.hpp"
#include "sim/serving/replica.hpp"

namespace tessera {
namespace {

constexpr double kSecondsPerPs = 1e-12;

void add(LinkTraffic& sum, const TierLink::Use& use) {
  sum.transfers += use.transfers;
  sum.bytes += use.bytes;
  sum.queued_s += static_cast<double>(use.queued_ps) * kSecondsPerPs;
  sum.busy += static_cast<double>(use.busy_ps) * kSecondsPerPs;
}

void finish(LinkTraffic& sum, const LinkReport& link, double seconds) {
  const double bytes = static_cast<double>(sum.bytes);
  if (sum.busy > 0) sum.gb_s_when_busy = bytes * 1e-9 / sum.busy;
  if (sum.transfers > 0) sum.queued_s /= static_cast<double>(sum.transfers);
  if (seconds <= 0) return;
  sum.busy /= seconds * static_cast<double>(link.links);
  sum.gb_s = bytes * 1e-9 / seconds;
  sum.percent_of_peak = 100 * sum.gb_s / (link.peak_gb_s * static_cast<double>(link.links));
}

LinkReport report_of(const std::vector<const TierLink*>& links, double seconds) {
  LinkReport report;
  report.name = links.front()->spec().name;
  report.links = static_cast<std::int64_t>(links.size());
  report.peak_gb_s = links.front()->spec().peak_gb_s;
  for (const TierLink* link : links) {
    add(report.read, link->use(Direction::read));
    add(report.write, link->use(Direction::write));
  }
  finish(report.read, report, seconds);
  finish(report.write, report, seconds);
  return report;
}

}  // namespace

MovementReport movement_report(const std::vector<std::unique_ptr<Replica>>& replicas,
                               const Metrics& metrics) {
  MovementReport report;
  const double seconds = static_cast<double>(metrics.last_finish_ps) * kSecondsPerPs;
  std::vector<const TierStack*> stacks;
  for (const auto& replica : replicas) {
    stacks.push_back(&replica->mover()->stack());
    stacks.back()->audit();
    report.count.add(replica->mover()->count());
  }
  report.block_bytes = stacks.front()->block().bytes;
  report.swap_blocks = replicas.front()->mover()->spec().swap_blocks;
  std::vector<const TierLink*> links;
  for (const TierStack* stack : stacks) links.push_back(&stack->host());
  report.links.push_back(report_of(links, seconds));
  report.links.front().name = "host link (" + report.links.front().name + ")";
  for (std::size_t i = 0; i < stacks.front()->tiers(); ++i) {
    const TierSpec& spec = stacks.front()->spec(i);
    TierReport tier;
    tier.name = spec.name;
    tier.policy = spec.policy;
    tier.scope = spec.global ? "global" : "engine";
    tier.capacity_blocks = spec.capacity_blocks;
    tier.stores = spec.global ? 1 : static_cast<std::int64_t>(stacks.size());
    tier.stored_bytes = stacks.front()->home(i).stored_bytes;
    links.clear();
    for (const TierStack* stack : stacks) {
      const TierStack::Count& count = stack->count(i);
      tier.count.loaded += count.loaded, tier.count.stored += count.stored;
      tier.count.promoted += count.promoted, tier.count.prefetched += count.prefetched;
      tier.count.left_out += count.left_out;
      if (stack->device(i) != nullptr) links.push_back(stack->device(i));
      if (spec.global && stack != stacks.front()) continue;
      const TierStore& store = stack->store(i);
      tier.resident_blocks += store.resident();
      tier.store.inserted += store.count().inserted, tier.store.evicted += store.count().evicted;
      tier.store.erased += store.count().erased, tier.store.refused += store.count().refused;
    }
    if (seconds > 0)
      tier.drive_writes_per_day = static_cast<double>(tier.store.inserted) /
                                  static_cast<double>(tier.capacity_blocks * tier.stores) / (seconds / 86400);
    report.tiers.push_back(tier);
    if (!links.empty()) {
      report.links.push_back(report_of(links, seconds));
      report.links.back().name = spec.name + " (" + report.links.back().name + ")";
    }
  }
  return report;
}

}  // namespace tessera
