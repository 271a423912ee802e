// The run config of `tessera run`: what a user writes, checked, with every reference resolved.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/engine_profile.hpp"
#include "models/hardware/fabric.hpp"
#include "models/hardware/gpu.hpp"
#include "models/parallel/partition.hpp"
#include "models/transformer/model.hpp"
#include "sim/serving/closed_loop.hpp"
#include "sim/serving/movement_config.hpp"

namespace tessera {

inline constexpr const char* kDefaultEngineProfile = "vllm-0.19";

struct EngineConfig {
  Ref<EngineProfile> profile;
  std::string scheduler = "auto";
  std::optional<std::int64_t> max_num_seqs;
  std::optional<std::int64_t> max_num_batched_tokens;
  std::optional<std::int64_t> max_model_len;
  void describe(Fields& f);
};

struct VmmConfig {
  std::int64_t page_kib = 2048;
  std::string tensors = "layer";
  std::optional<double> map_us;
  std::optional<double> unmap_us;
  bool defer_free = true;
  bool map_ahead = true;
  void describe(Fields& f);
  [[nodiscard]] bool is_default() const { return *this == VmmConfig{}; }
  friend bool operator==(const VmmConfig&, const VmmConfig&) = default;
};

struct MemoryConfig {
  std::string allocator = "paged";
  std::string block_scope = "auto";
  std::optional<std::int64_t> snapshot_tokens;
  bool reuse_passed = false;
  std::optional<std::int64_t> block_tokens;
  double gpu_memory_utilization = 0.9;
  std::optional<std::int64_t> kv_blocks;
  std::string kv_dtype = "auto";
  std::string prefix_cache = "hash";
  std::string cache_salt = "tenant";
  VmmConfig vmm;
  MovementConfig movement;
  void describe(Fields& f);
};

struct SamplingConfig {
  std::string mode = "parallel";
  std::int64_t n = 1;
  double survival = 0.94;
  void describe(Fields& f);
};

struct CostConfig {
  std::string source = "auto";
  std::vector<std::string> tables;
  void describe(Fields& f);
};

struct TraceConfig {
  std::string file;
  std::string format = "auto";
  std::optional<std::int64_t> limit;
  double rate_scale = 1;
  std::optional<ClosedLoopConfig> closed_loop;
  std::int64_t shared_prefix_tokens = 0;
  void describe(Fields& f);
};

struct SloConfig {
  double ttft_ms = 2000;
  double tpot_ms = 200;
  void describe(Fields& f);
};

struct RunConfig {
  std::string name = "run";
  Ref<Gpu> gpu;
  Ref<Model> model;
  Ref<FabricSpec> fabric{"auto", {}};
  Parallel parallel;
  std::int64_t replicas = 1;
  EngineConfig engine;
  MemoryConfig memory;
  CostConfig cost;
  SamplingConfig sampling;
  TraceConfig trace;
  SloConfig slo;
  std::int64_t seed = 0;
  void describe(Fields& f);
};

// How steps are composed: engine.scheduler, or the profile's own.
const std::string& scheduler_of(const RunConfig& config);

// Reads a config, applies `key=value` overrides (in order) and checks it. Relative trace and table paths are
// looked up beside the config file first, then from the working directory. `trace_file`, if not empty,
// replaces trace.file.
RunConfig load_run_config(const std::string& path, const std::vector<std::string>& overrides,
                          const std::string& trace_file);

}  // namespace tessera
