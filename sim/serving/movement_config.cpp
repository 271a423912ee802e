#include "sim/serving/movement_config.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/units.hpp"
#include "sim/serving/kv_mover.hpp"

namespace tessera {
namespace {

constexpr double kGib = 1073741824.0;
// About 100 bytes of state each.
constexpr std::int64_t kMostTierBlocks = std::int64_t{1} << 24;

// A device written in place has rates; without a name of its own it would pass for none.
void name_in_place(Ref<TierDevice>& device) {
  if (device->read_gb_s > 0 && (device.name == "none" || device.name == "auto"))
    device.name = device->name = "custom";
}

}  // namespace

void CompressionConfig::describe(Fields& f) {
  f.field("ratio", ratio,
          {.doc = "bytes of a block / bytes stored and sent", .min = 1, .max = 1000, .required = true});
  f.field("compress_gb_s", compress_gb_s,
          {.doc = "of uncompressed bytes; 0: takes no time", .unit = "GB/s", .min = 0, .max = 1e5});
  f.field("decompress_gb_s", decompress_gb_s,
          {.doc = "of uncompressed bytes; 0: takes no time", .unit = "GB/s", .min = 0, .max = 1e5});
}

void TierConfig::describe(Fields& f) {
  f.field("name", name, {.doc = "a name for the tier", .required = true});
  f.reference("device", device, "tiers",
              {.doc = "what it is reached over beyond host memory; none: it is host memory"});
  f.field("capacity_gib", capacity_gib,
          {.doc = "room for blocks, as stored", .unit = "GiB", .min = 1e-6, .max = 1e9, .required = true});
  name_in_place(device);
  f.choice("policy", policy, tier_policy_names(), {.doc = "which block goes first"});
  f.choice("write", write, {"through", "on-evict"},
           {.doc = "when blocks come down: when computed, or when the level above drops them"});
  f.choice("placement", placement, {"inclusive", "exclusive"},
           {.doc = "whether a loaded block stays in the tier"});
  f.field("prefetch", prefetch,
          {.doc = "brought into host memory while its request waits (tiers below the first)"});
  f.choice("scope", scope, {"engine", "global"}, {.doc = "one store per engine, or one for all replicas"});
  f.field("pool_gb_s", pool_gb_s,
          {.doc = "what a global tier moves one way for all engines; 0: only each engine's device limits it",
           .unit = "GB/s",
           .min = 0,
           .max = 1e6});
  f.optional_group("compression", compression, {.doc = "blocks are compressed in host memory on their way"});
  f.field(
      "backlog_s", backlog_s,
      {.doc = "no block is written while its link is busy for longer", .unit = "s", .min = 0, .max = 1e4});
  f.check(!name.empty(), "name", "is empty, expected a name");
  f.check(placement != "exclusive" || write == "on-evict", "write",
          "an exclusive tier never holds what HBM holds, expected write: on-evict");
  f.check(
      placement != "exclusive" || find_tier_policy(policy).can_erase, "policy",
      "cannot give up a block that is loaded, expected lru, sieve, slru or s3-fifo for an exclusive tier");
  f.check(policy != "length-aware" || write == "through", "policy",
          "length-aware needs write: through, as what is dropped brings no position");
  f.check(pool_gb_s == 0 || scope == "global", "pool_gb_s", "belongs to scope: global");
  f.check(scope == "engine" || device.name != "none", "device",
          "a global tier lies outside the engine's host, expected a device, e.g. rdma-400g");
}

void MovementConfig::describe(Fields& f) {
  f.choice("preemption", preemption, {"recompute", "swap", "cost"},
           {.doc = "a preempted request's KV is computed again, kept in host memory, or what is faster"});
  f.field(
      "swap_gib", swap_gib,
      {.doc = "host memory for preempted requests (vLLM V0's default)", .unit = "GiB", .min = 0, .max = 1e6});
  f.reference("host_link", host_link, "tiers",
              {.doc = "between one GPU and its host; auto: the GPU's pcie_gb_s"});
  name_in_place(host_link);
  f.choice("copy_unit", copy_unit, {"block", "layer"},
           {.doc = "what one copy over the host link moves: a block of all layers, or K or V of one layer "
                   "(vLLM before 0.12)"});
  f.choice("tier_load", tier_load, {"async", "layerwise"},
           {.doc = "a request waits for its blocks while others run, or its step for each layer"});
  f.choice("tier_split", tier_split, {"load", "cost", "both-ends"},
           {.doc = "load all that is found; or only what comes sooner than it is computed; or compute the "
                   "front while the back is loaded"});
  f.list("tiers", tiers, {.doc = "below HBM, nearest first"});
  f.check(tier_split != "both-ends" || tier_load == "async", "tier_split",
          "'both-ends' computes while blocks come, expected tier_load: async");
  std::set<std::string> names;
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    f.check(names.insert(tiers[i].name).second, "tiers",
            fmt::format("two tiers are called '{}', expected a name each", tiers[i].name));
    f.check(
        i == 0 || tiers[i].device.name != "none", "tiers",
        fmt::format("'{}' has no device, expected one: only the first tier is host memory", tiers[i].name));
  }
}

TierDevice host_link_of(const MovementConfig& config, const Gpu& gpu) {
  if (config.host_link.name != "auto") return *config.host_link;
  return host_link_of(gpu.pcie_gb_s, gpu.pcie_gb_s.source.empty() ? gpu.source : gpu.pcie_gb_s.source);
}

std::int64_t pieces_of(const std::string& copy_unit, const KvLayout& kv) {
  if (copy_unit == "block") return 1;
  std::int64_t pieces = 0;
  for (const KvGroup& group : kv.groups)
    pieces += group.layers_held * static_cast<std::int64_t>(group.parts.size());
  return std::max<std::int64_t>(1, pieces);
}

std::shared_ptr<KvMoverSpec> movement_spec(const MovementConfig& config, const Gpu& gpu,
                                           const RankModel& rank, std::int64_t block_tokens,
                                           std::int64_t max_batched_tokens, std::int64_t engines) {
  if (!config.moves()) return nullptr;
  auto spec = std::make_shared<KvMoverSpec>();
  spec->host_link = host_link_of(config, gpu);
  spec->lanes = rank.parallel.tp;
  spec->block.bytes = rank.kv.block_bytes(block_tokens) * rank.parallel.tp;
  spec->block.pieces = pieces_of(config.copy_unit, rank.kv);
  spec->block_tokens = block_tokens;
  spec->layers = 0;
  for (const KvGroup& group : rank.kv.groups) spec->layers += group.layers_held;
  spec->max_batched_tokens = max_batched_tokens;
  spec->mode = config.tier_load == "layerwise" ? LoadMode::layerwise : LoadMode::async;
  spec->split = config.tier_split == "cost"        ? LoadSplit::cost
                : config.tier_split == "both-ends" ? LoadSplit::both_ends
                                                   : LoadSplit::load;
  spec->preemption = config.preemption == "swap"   ? Preemption::swap
                     : config.preemption == "cost" ? Preemption::cost
                                                   : Preemption::recompute;
  const auto bytes = static_cast<double>(spec->block.bytes);
  spec->swap_blocks = static_cast<std::int64_t>(std::floor(config.swap_gib * kGib / bytes));
  std::int64_t all = 0;
  for (const TierConfig& from : config.tiers) {
    TierSpec tier;
    tier.name = from.name;
    if (from.device.name != "none") tier.device = *from.device;
    tier.policy = from.policy;
    tier.write_through = from.write == "through";
    tier.exclusive = from.placement == "exclusive";
    tier.prefetch = from.prefetch;
    tier.global = from.scope == "global";
    tier.pool_gb_s = from.pool_gb_s;
    if (from.compression) {
      tier.ratio = from.compression->ratio;
      tier.compress_gb_s = from.compression->compress_gb_s;
      tier.decompress_gb_s = from.compression->decompress_gb_s;
    }
    tier.most_backlog_ps = seconds(from.backlog_s).count();
    const double blocks = std::floor(from.capacity_gib * kGib / std::ceil(bytes / tier.ratio));
    if (blocks < 1)
      throw InputError(fmt::format(
          "memory.tiers: '{}' of {} holds no block of {} tokens, which takes {}, expected room for one",
          from.name, human_bytes(from.capacity_gib * kGib), block_tokens, human_bytes(bytes / tier.ratio)));
    all += static_cast<std::int64_t>(std::min(blocks, kMostTierBlocks + 1.0)) * (tier.global ? 1 : engines);
    if (all > kMostTierBlocks)
      throw InputError(
          fmt::format("memory.tiers: {} blocks of {} tokens in all engines' tiers up to '{}', expected at "
                      "most {}; larger "
                      "memory.block_tokens make fewer",
                      human_count(all), block_tokens, from.name, human_count(kMostTierBlocks)));
    tier.capacity_blocks = static_cast<std::uint32_t>(blocks);
    spec->homes.push_back(tier.global ? std::make_shared<TierHome>(tier, spec->block) : nullptr);
    spec->tiers.push_back(std::move(tier));
  }
  return spec;
}

}  // namespace tessera
