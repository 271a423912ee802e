#include "sim/report/movement_section.hpp"

#include <fmt/format.h>

#include "models/base/text.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

double ratio(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

Json traffic(const LinkTraffic& t) {
  return {{"bytes", t.bytes},
          {"transfers", t.transfers},
          {"mean_queue_ms", t.queued_s * 1e3},
          {"busy_fraction", t.busy},
          {"gb_s", t.gb_s},
          {"percent_of_peak", t.percent_of_peak},
          {"gb_s_when_busy", t.gb_s_when_busy}};
}

std::string bytes_text(std::int64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

}  // namespace

void put_movement(Json& out, const MovementReport& report) {
  for (const LinkReport& link : report.links)
    out["bytes"][link.name] = {{"links", link.links},
                               {"peak_gb_s", link.peak_gb_s},
                               {"span_s", link.span_s},
                               {"read", traffic(link.read)},
                               {"write", traffic(link.write)}};
  Json tiers = Json::array();
  for (const TierReport& t : report.tiers)
    tiers.push_back({{"name", t.name},
                     {"policy", t.policy},
                     {"scope", t.scope},
                     {"capacity_blocks", t.capacity_blocks},
                     {"stores", t.stores},
                     {"resident_blocks", t.resident_blocks},
                     {"block_bytes", t.stored_bytes},
                     {"hit_blocks", t.count.loaded},
                     {"hit_ratio", ratio(t.count.loaded, report.count.looked_up_blocks)},
                     {"bytes_out", t.bytes_out()},
                     {"bytes_in", t.store.inserted * t.stored_bytes},
                     {"stored_blocks", t.count.stored},
                     {"promoted_blocks", t.count.promoted},
                     {"prefetched_blocks", t.count.prefetched},
                     {"read_ahead_blocks", t.count.read_ahead},
                     {"evicted_blocks", t.store.evicted},
                     {"moved_up_blocks", t.store.erased},
                     {"refused_blocks", t.store.refused},
                     {"left_out_blocks", t.count.left_out},
                     {"writes_of_capacity_per_day", t.drive_writes_per_day}});
  if (!report.tiers.empty()) out["tiers"] = tiers;
  const MovementCount& c = report.count;
  out["movement"] = {
      {"block_bytes", report.block_bytes},
      {"looked_up_blocks", c.looked_up_blocks},
      {"found_blocks", c.found_blocks},
      {"recomputed_by_choice_blocks", c.declined_blocks},
      {"loads", c.loads},
      {"loaded_tokens", c.loaded_tokens},
      {"cancelled_loads", c.cancelled_loads},
      {"mean_load_ms",
       c.loads > 0 ? static_cast<double>(c.load_ps) * 1e-9 / static_cast<double>(c.loads) : 0.0},
      {"stalled_s", static_cast<double>(c.stall_ps) * 1e-12},
      {"swaps_out", c.swaps_out},
      {"swaps_in", c.swaps_in},
      {"swapped_out_bytes", c.swapped_out_blocks * report.block_bytes},
      {"swapped_in_bytes", c.swapped_in_blocks * report.block_bytes},
      {"swap_space_blocks", report.swap_blocks},
      {"peak_swap_blocks", c.peak_swap_blocks},
      {"swap_space_full", c.swap_full},
      {"swap_declined", c.swap_declined}};
}

std::string movement_text(const MovementReport& report, std::int64_t block_tokens) {
  const MovementCount& c = report.count;
  std::string text;
  if (!report.tiers.empty()) {
    text += fmt::format(
        "\n  Tiers      {} of {} blocks of {} tokens that HBM lacked were found, {} loads took {:.1f} ms "
        "each",
        human_count(c.found_blocks), human_count(c.looked_up_blocks), block_tokens, human_count(c.loads),
        c.loads > 0 ? static_cast<double>(c.load_ps) * 1e-9 / static_cast<double>(c.loads) : 0.0);
    text += c.declined_blocks > 0
                ? fmt::format(", {} blocks computed again by choice\n", human_count(c.declined_blocks))
                : "\n";
    for (const TierReport& t : report.tiers) {
      text += fmt::format(
          "             {:<10} {} blocks{} ({}, {}), {:.0f} % full: {} hits ({:.1f} %), {} in, {} out",
          t.name, human_count(t.capacity_blocks),
          t.stores > 1 ? fmt::format(" x {}", t.stores) : std::string(), t.policy, t.scope,
          100 * ratio(t.resident_blocks, t.capacity_blocks * t.stores), human_count(t.count.loaded),
          100 * ratio(t.count.loaded, c.looked_up_blocks), bytes_text(t.store.inserted * t.stored_bytes),
          bytes_text(t.bytes_out()));
      if (t.count.left_out + t.store.refused > 0)
        text += fmt::format(", {} writes left out", human_count(t.count.left_out + t.store.refused));
      text += "\n";
    }
  }
  if (c.swaps_out + c.swap_full + c.swap_declined > 0)
    text += fmt::format(
        "  Swapping   {} requests out ({}), {} back ({}); space peak {} of {} blocks, {} recomputed for want "
        "of "
        "space, {} as faster\n",
        human_count(c.swaps_out), bytes_text(c.swapped_out_blocks * report.block_bytes),
        human_count(c.swaps_in), bytes_text(c.swapped_in_blocks * report.block_bytes),
        human_count(c.peak_swap_blocks), human_count(report.swap_blocks), human_count(c.swap_full),
        human_count(c.swap_declined));
  for (const LinkReport& link : report.links) {
    const auto one = [](const LinkTraffic& t) {
      return fmt::format("{:.2f} GB/s = {:.1f} % of peak ({:.1f} when busy, queue {:.2f} ms)", t.gb_s,
                         t.percent_of_peak, t.gb_s_when_busy, t.queued_s * 1e3);
    };
    text += fmt::format("             {}: read {}, write {}\n", link.name, one(link.read), one(link.write));
  }
  if (c.stall_ps > 0)
    text += fmt::format("             steps waited {:.2f} s for blocks to come or go\n",
                        static_cast<double>(c.stall_ps) * 1e-12);
  return text;
}

}  // namespace tessera
