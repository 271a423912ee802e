#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/memory/fleet_replay.hpp"
#include "sim/memory/miss_ratio_curve.hpp"
#include "sim/memory/prefix_replay.hpp"
#include "sim/memory/replacement/registry.hpp"
#include "sim/memory/sampled_curve.hpp"
#include "traces/formats.hpp"
#include "traces/key_trace.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;  // 32 bits of seconds fit

DenseTrace load(const CacheOptions& options, bool with_times) {
  const Source source{options.trace, {}};
  const TraceFormat& format = options.format == "auto" ? detect_format(source) : find_format(options.format);
  DenseTrace trace;
  if (format.kind == TraceFormat::Kind::keys) {
    const auto keys = open_keys(source, format.name);
    const bool clock = with_times && std::string_view(format.name) == "oracle";
    KeyAccess access;
    while (keys->next(access))
      trace.add_key(access.key, access.size,
                    clock ? std::int64_t{access.time} * kNsPerSecond : DenseTrace::kNoTime);
    return trace;
  }
  ReadOptions read;
  read.format = options.format;
  read.need_arrivals = false;
  const auto requests = open_trace(source, read);
  const TraceInfo& info = requests->info();
  if (info.block_tokens == 0)
    throw InputError(
        {options.trace, 0, 0},
        fmt::format(
            "a {} trace has no block identities to cache, expected hash_ids, blockN_ids or one key per line",
            format.name));
  Request request;
  while (requests->next(request))
    trace.add_request(request.blocks, info.has_arrivals ? request.arrival_ps / 1000 : DenseTrace::kNoTime,
                      request.session);
  return trace;
}

std::int64_t capacity(const std::string& text, const std::string& option) {
  const std::int64_t most = option == "--bytes" ? kUnboundedBytes : kUnboundedBlocks;
  if (text == "unbounded" || text == "inf") return most;
  const std::int64_t size = parse_tokens(text, option);
  if (size < 1 || size >= most)
    throw InputError({option, 0, 0},
                     fmt::format("'{}' is out of range, expected 1 to {} or unbounded", text, most - 1));
  return size;
}

template <class Value>
Value choose(const std::string& option, const std::string& text,
             const std::vector<std::pair<std::string, Value>>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
    names.push_back(name);
  }
  throw InputError({option, 0, 0}, fmt::format("'{}' is not known, expected {}{}", text, join(names, " or "),
                                               did_you_mean(text, names)));
}

ReplayOptions replay_options(const CacheOptions& options) {
  using Cost = ReplayOptions::Cost;
  ReplayOptions replay;
  replay.bytes = !options.bytes.empty();
  replay.cost = choose<Cost>("--cost", options.cost,
                             {{"uniform", Cost::uniform}, {"size", Cost::size}, {"depth", Cost::depth}});
  if (!(options.ttl_s > 0 && options.ttl_s <= 1e6))
    throw InputError({"--ttl", 0, 0},
                     shortest(options.ttl_s) + " s, expected more than 0 and at most 1000000");
  replay.time_to_live_ns = static_cast<std::int64_t>(options.ttl_s * static_cast<double>(kNsPerSecond));
  replay.seed = options.seed;
  return replay;
}

// Rows as they come: a line each, or all together as JSON.
class Table {
 public:
  Table(bool json, bool bytes) : json_(json), unit_(bytes ? "bytes" : "blocks") {
    if (!json_)
      fmt::print("{:<12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>14}\n", "policy", unit_, "references", "hits",
                 "miss ratio", bytes ? "byte miss" : "prefix hit", "requests/s");
  }
  // `note`: what a line has beyond the columns.
  void add(const CacheResult& r, const nlohmann::ordered_json& more = {}, const std::string& note = "") {
    const bool bytes = unit_ == "bytes";
    const bool unbounded = r.capacity == (bytes ? kUnboundedBytes : kUnboundedBlocks);
    nlohmann::ordered_json row = {{"policy", r.policy},
                                  {unit_, r.capacity},
                                  {"requests", r.requests},
                                  {"references", r.references},
                                  {"hits", r.hits},
                                  {"misses", r.misses},
                                  {"miss_ratio", r.miss_ratio()},
                                  {"prefix_hit_ratio", r.prefix_hit_ratio()},
                                  {"requests_per_s", r.requests_per_s}};
    if (unbounded) row[unit_] = "unbounded";
    if (r.prefix_hits < 0) row["prefix_hit_ratio"] = nullptr;
    if (bytes) row["byte_miss_ratio"] = r.byte_miss_ratio();
    if (!more.is_null()) row.update(more);
    rows_.push_back(row);
    const bool knows_prefixes = r.prefix_hits >= 0;
    if (!json_)
      fmt::print(
          "{:<12} {:>12} {:>12} {:>12} {:>10.4f} {:>10} {:>14.0f}{}\n", r.policy,
          unbounded ? "unbounded" : std::to_string(r.capacity), r.references, r.hits, r.miss_ratio(),
          !knows_prefixes ? "-" : fmt::format("{:.4f}", bytes ? r.byte_miss_ratio() : r.prefix_hit_ratio()),
          r.requests_per_s, note);
  }
  void finish() const {
    if (json_) fmt::print("{}\n", rows_.dump(2));
  }

 private:
  bool json_;
  std::string unit_;
  nlohmann::ordered_json rows_ = nlohmann::ordered_json::array();
};

// As the SHARDS paper states it: over capacities equally far apart.
double mean_error(const MissRatioCurve& exact, const SampledCurve& sampled) {
  constexpr int kPoints = 100;
  double sum = 0;
  for (int i = 1; i <= kPoints; ++i) {
    const auto blocks = static_cast<std::uint32_t>(std::uint64_t{exact.saturation()} * i / kPoints);
    const auto misses = static_cast<double>(exact.references() - exact.hits(blocks));
    sum += std::abs(sampled.miss_ratio(blocks) - misses / static_cast<double>(exact.references()));
  }
  return sum / kPoints;
}

bool is_rate(double shards) { return shards > 0 && shards < 1; }

void check_curves(const CacheOptions& options) {
  if (options.shards == 0 && !options.mrc) return;
  if (!options.bytes.empty())
    throw InputError({"--bytes", 0, 0}, "--mrc and --shards are curves over blocks, expected --blocks");
  const bool keys =
      options.shards >= 1 && options.shards <= 1e9 && options.shards == std::floor(options.shards);
  if (options.shards != 0 && !is_rate(options.shards) && !keys)
    throw InputError({"--shards", 0, 0}, shortest(options.shards) +
                                             ", expected a rate between 0 and 1 or a whole number of keys");
}

void add_curves(const CacheOptions& options, const DenseTrace& trace, Table& table) {
  std::optional<MissRatioCurve> exact;
  if (options.mrc) exact.emplace(trace);
  std::optional<SampledCurve> sampled;
  if (options.shards != 0) {
    sampled = is_rate(options.shards)
                  ? SampledCurve::fixed_rate(trace, options.shards, options.seed)
                  : SampledCurve::fixed_size(trace, static_cast<std::size_t>(options.shards), options.seed);
    if (sampled->sampled_keys() == 0 && !trace.references().empty())
      throw InputError({"--shards", 0, 0}, "no key fell into the sample, expected a higher rate");
  }
  if ((!exact && !sampled) || trace.references().empty()) return;
  const std::uint32_t last = exact ? exact->saturation() : trace.distinct();
  for (std::uint64_t blocks = 1;; blocks *= 2) {
    const auto at = static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks, last));
    CacheResult r;
    r.capacity = at;
    r.requests = static_cast<std::int64_t>(trace.requests());
    r.references = static_cast<std::int64_t>(trace.references().size());
    if (exact) {
      r.policy = "lru-mrc";
      r.hits = exact->hits(at);
      r.misses = r.references - r.hits;
      r.prefix_hits = exact->prefix_hits(at);
      table.add(r);
    }
    if (sampled) {
      const double estimate = sampled->miss_ratio(at);
      nlohmann::ordered_json more = {{"rate", sampled->rate()}, {"sampled_keys", sampled->sampled_keys()}};
      std::string note;
      if (exact) {
        const double error = estimate - r.miss_ratio();
        more["error"] = error;
        note = fmt::format("  error {:+.4f}", error);
      }
      r.policy = "lru-shards";
      r.misses = std::llround(estimate * static_cast<double>(r.references));
      r.hits = r.references - r.misses;
      r.prefix_hits = trace.keyed() ? r.hits : -1;  // a sample knows no prefixes
      table.add(r, more, note);
    }
    if (at >= last) break;
  }
  if (exact && sampled)
    fmt::print(stderr,
               "sampled curve: {} keys, rate {:.4f}, mean absolute error {:.4f} over 100 capacities\n",
               sampled->sampled_keys(), sampled->rate(), mean_error(*exact, *sampled));
}

}  // namespace

std::int64_t parse_tokens(const std::string& text, const std::string& what) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  double scale = 1;
  std::string_view suffix(stop, static_cast<std::size_t>(end - stop));
  if (what == "--blocks")
    scale = suffix == "k" || suffix == "K" ? 1e3 : suffix == "M" ? 1e6 : 1;
  else
    scale = suffix == "k" || suffix == "K" ? 1024 : suffix == "M" ? 1048576 : 1;
  if (error != std::errc{} || (!suffix.empty() && scale == 1) || !std::isfinite(value) || value < 0 ||
      value * scale > 1e15 || value * scale != std::floor(value * scale))
    throw InputError({what, 0, 0},
                     fmt::format("'{}' is not valid, expected a whole number, e.g. 4096, 128k or 1M", text));
  return static_cast<std::int64_t>(value * scale);
}

int cache_command(const CacheOptions& options) {
  const ReplayOptions replaying = replay_options(options);
  check_curves(options);
  std::vector<std::int64_t> sizes;
  for (const std::string& text : replaying.bytes ? options.bytes : options.blocks)
    sizes.push_back(capacity(text, replaying.bytes ? "--bytes" : "--blocks"));
  bool with_times = false;
  for (const std::string& policy : options.policies)
    with_times = with_times || find_policy(policy).needs_times;
  using Route = std::vector<std::uint32_t> (*)(const DenseTrace&, std::uint32_t);
  const Route route = choose<Route>("--routing", options.routing,
                                    {{"round-robin", route_round_robin}, {"session", route_by_session}});
  const DenseTrace trace = load(options, with_times);
  std::vector<std::uint32_t> replica_of;
  if (options.replicas > 1) replica_of = route(trace, options.replicas);

  Table table(options.json, replaying.bytes);
  for (const std::string& policy : options.policies) {
    for (const std::int64_t size : sizes) {
      if (options.replicas == 1) {
        table.add(replay(policy, trace, size, replaying));
        continue;
      }
      const FleetResult fleet = replay_fleet(policy, trace, options.replicas, replica_of, size, replaying);
      table.add(fleet.total,
                {{"replicas", options.replicas},
                 {"routing", options.routing},
                 {"busiest_share", fleet.busiest_share}},
                fmt::format("  {} x, {}, busiest {:.1f} %", options.replicas, options.routing,
                            100 * fleet.busiest_share));
    }
  }
  add_curves(options, trace, table);
  table.finish();
  return kOk;
}

}  // namespace tessera
