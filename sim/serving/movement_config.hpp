// What a user says about KV that moves: the part of `memory:` about preemption and tiers, and what becomes of
// it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/gpu.hpp"
#include "models/hardware/tier_device.hpp"
#include "models/parallel/partition.hpp"

namespace tessera {

struct KvMoverSpec;

struct CompressionConfig {
  double ratio = 1;
  double compress_gb_s = 0;
  double decompress_gb_s = 0;
  void describe(Fields& f);
};

struct TierConfig {
  std::string name;
  Ref<TierDevice> device{"none", {}};
  double capacity_gib = 0;
  std::string policy = "lru";
  std::string write = "through";
  std::string placement = "inclusive";
  bool prefetch = true;
  std::string scope = "engine";
  double pool_gb_s = 0;
  std::optional<CompressionConfig> compression;
  double backlog_s = 1;
  void describe(Fields& f);
};

struct MovementConfig {
  std::string preemption = "recompute";
  double swap_gib = 4;
  Ref<TierDevice> host_link{"auto", {}};
  std::string copy_unit = "block";
  std::string tier_load = "async";
  std::string tier_split = "load";
  std::vector<TierConfig> tiers;
  void describe(Fields& f);
  [[nodiscard]] bool moves() const { return !tiers.empty() || preemption != "recompute"; }
};

// The link between this GPU and its host.
TierDevice host_link_of(const MovementConfig& config, const Gpu& gpu);
// Copies over the host link that one block takes: all of it, or K and V of every layer apart.
std::int64_t pieces_of(const std::string& copy_unit, const KvLayout& kv);

// Null where nothing moves. Homes of global tiers are made once, for all engines of the run. Throws
// InputError where a tier holds no block or all together more than can be simulated.
std::shared_ptr<KvMoverSpec> movement_spec(const MovementConfig& config, const Gpu& gpu,
                                           const RankModel& rank, std::int64_t block_tokens,
                                           std::int64_t max_batched_tokens, std::int64_t engines);

}  // namespace tessera
