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

void finish(LinkTraffic& sum, const LinkReport& link) {
  const double bytes = static_cast<double>(sum.bytes);
  if (sum.busy > 0) sum.gb_s_when_busy = bytes * 1e-9 / sum.busy;
  if (sum.transfers > 0) sum.queued_s /= static_cast<double>(sum.transfers);
  if (link.span_s <= 0) return;
  sum.busy /= link.span_s * static_cast<double>(link.links);
  sum.gb_s = bytes * 1e-9 / link.span_s;
  sum.percent_of_peak = 100 * sum.gb_s / (link.peak_gb_s * static_cast<double>(link.links));
}

// Shares are of the run, or, where transfers go on after the last token, of the time until they end: none is
// above 1.
LinkReport report_of(const std::vector<const TierLink*>& links, std::int64_t last_finish_ps) {
  LinkReport report;
  std::int64_t span_ps = last_finish_ps;
  for (const TierLink* link : links) span_ps = std::max(span_ps, link->reserved_until_ps());
  report.span_s = static_cast<double>(span_ps) * kSecondsPerPs;
  report.name = links.front()->spec().name;
  report.links = static_cast<std::int64_t>(links.size());
  report.peak_gb_s = links.front()->spec().peak_gb_s;
  for (const TierLink* link : links) {
    add(report.read, link->use(Direction::read));
    add(report.write, link->use(Direction::write));
  }
  finish(report.read, report);
  finish(report.write, report);
  return report;
}

// Under a name of its own: a tier may be called like the host link, or like another tier and its device.
void add(MovementReport& report, const std::vector<const TierLink*>& links, const std::string& name,
         std::int64_t last_finish_ps) {
  LinkReport link = report_of(links, last_finish_ps);
  const std::string full = name + " (" + link.name + ")";
  link.name = full;
  const auto same = [&](const LinkReport& other) { return other.name == link.name; };
  for (int i = 2; std::any_of(report.links.begin(), report.links.end(), same); ++i)
    link.name = full + " " + std::to_string(i);
  report.links.push_back(link);
}

}  // namespace

MovementReport movement_report(const std::vector<std::unique_ptr<Replica>>& replicas,
                               const Metrics& metrics) {
  MovementReport report;
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
  add(report, links, "host link", metrics.last_finish_ps);
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
      tier.count.read_ahead += count.read_ahead;
      tier.count.left_out += count.left_out;
      if (stack->device(i) != nullptr) links.push_back(stack->device(i));
      if (spec.global && stack != stacks.front()) continue;
      const TierStore& store = stack->store(i);
      tier.resident_blocks += store.resident();
      tier.store.inserted += store.count().inserted, tier.store.evicted += store.count().evicted;
      tier.store.erased += store.count().erased, tier.store.refused += store.count().refused;
    }
    if (!links.empty()) add(report, links, spec.name, metrics.last_finish_ps);
    const LinkReport& link = links.empty() ? report.links.front() : report.links.back();
    if (link.span_s > 0)
      tier.drive_writes_per_day = static_cast<double>(tier.store.inserted) /
                                  static_cast<double>(tier.capacity_blocks * tier.stores) /
                                  (link.span_s / 86400);
    report.tiers.push_back(tier);
  }
  return report;
}

}  // namespace tessera
