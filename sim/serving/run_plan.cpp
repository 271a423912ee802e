#include "sim/serving/run_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/text.hpp"
#include "models/base/units.hpp"
#include "models/transformer/kv_pages.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kSnapshotTokens = 1024;

// Scheduler rules by name. Sarathi-Serve (OSDI 2024): decodes first, one token budget, prompts allocated
// whole. SGLang without mixed chunks: prompts first, in steps of their own.
void set_rules(ReplicaSpec& spec, const RunConfig& config) {
  const EngineProfile& profile = *config.engine.profile;
  spec.memory.reserve_full_prompt = profile.admission.reserve_full_prompt;
  spec.memory.watermark = profile.admission.watermark;
  spec.memory.allocate_full_prompt = scheduler_of(config) == "sarathi";
  spec.prefill_first = scheduler_of(config) == "sglang";
}

KvAllocator allocator_of(const std::string& name) {
  if (name == "contiguous-max") return KvAllocator::contiguous_max;
  if (name == "contiguous-pow2") return KvAllocator::contiguous_pow2;
  if (name == "contiguous-oracle") return KvAllocator::contiguous_oracle;
  if (name == "vmm") return KvAllocator::mapped;
  return KvAllocator::paged;
}

ReplicaSpec replica_spec(const RunConfig& config, const StepLimits& limits, std::int64_t usable_blocks) {
  const EngineProfile& profile = *config.engine.profile;
  ReplicaSpec spec;
  spec.max_num_seqs = limits.max_num_seqs;
  spec.max_batched_tokens = limits.max_batched_tokens;
  KvMemorySpec& memory = spec.memory;
  memory.allocator = allocator_of(config.memory.allocator);
  memory.max_model_len = config.engine.max_model_len.value_or(0);
  // What the longest request may take is what its region holds.
  if (memory.allocator == KvAllocator::contiguous_max && memory.max_model_len == 0)
    memory.max_model_len = config.model->max_position;
  memory.block_tokens = limits.block_tokens;
  memory.kv_blocks = usable_blocks;
  memory.prefix_cache = config.memory.prefix_cache != "off" && memory.allocator == KvAllocator::paged;
  memory.radix = config.memory.prefix_cache == "radix";
  memory.branches = config.sampling.n;
  if (config.sampling.mode == "beam") memory.beam_survival = config.sampling.survival;
  spec.cascade = profile.cascade != "off";
  spec.async_depth = profile.async_depth;
  const int tp = static_cast<int>(config.parallel.tp);
  spec.host_base_ps = profile.host_time(tp, 0).count();
  spec.host_per_sequence_ps = (profile.host_time(tp, 1) - profile.host_time(tp, 0)).count();
  spec.prefill_step_floor_ps = microseconds(profile.eager_prefill_floor_ms * 1e3).count();
  spec.frontend_ps = microseconds(profile.frontend_ttft_ms * 1e3).count();
  spec.cold_start_ps = microseconds(profile.cold_start_ms * 1e3).count();
  set_rules(spec, config);
  return spec;
}

bool has_windows(const RankModel& rank) {
  return std::any_of(rank.kv.groups.begin(), rank.kv.groups.end(),
                     [](const KvGroup& g) { return g.rule.bounded() && g.entry_bytes > 0; });
}
bool has_states(const RankModel& rank) {
  return std::any_of(rank.kv.groups.begin(), rank.kv.groups.end(),
                     [](const KvGroup& g) { return g.rule.kind == Retention::state; });
}

// Block tables per group of layers, or null where a block spans all of them.
std::shared_ptr<const KvPagePlan> page_plan(const RunConfig& config, const RankModel& rank,
                                            std::int64_t block_tokens) {
  const std::string& scope = config.memory.block_scope;
  const bool paged = allocator_of(config.memory.allocator) == KvAllocator::paged;
  if (!paged || scope == "all-layers" || (scope == "auto" && !has_windows(rank) && !has_states(rank)))
    return nullptr;
  const std::int64_t snapshot = config.memory.snapshot_tokens.value_or(kSnapshotTokens);
  return std::make_shared<const KvPagePlan>(
      plan_pages(rank.kv, block_tokens, ceil_div(snapshot, block_tokens) * block_tokens));
}

// States then live in blocks, so none are set aside.
CapacityBreakdown capacity_of(const RunConfig& config, RankModel rank, StepLimits limits,
                              const KvPagePlan* plan) {
  if (plan != nullptr) {
    limits.block_bytes = plan->block_bytes();
    std::erase_if(rank.kv.groups, [](const KvGroup& g) { return g.rule.kind == Retention::state; });
  }
  return derive_kv_capacity(rank, config.gpu->memory_bytes.value, config.memory.gpu_memory_utilization,
                            config.engine.profile->memory, limits);
}

void warn_of_limits(const RunConfig& config, const RankModel& rank, bool grouped,
                    std::vector<std::string>& warnings) {
  if (!grouped && has_windows(rank))
    warnings.push_back(
        "windowed layers hold KV of the whole context: blocks span all layers, as in engines without a "
        "hybrid allocator; their traffic is bounded by the window");
  if (!grouped && has_states(rank) && config.memory.allocator == "paged" &&
      config.memory.prefix_cache != "off")
    warnings.push_back(
        "no prefix cache: a block of tokens does not hold the state that recurrent layers had after them "
        "(memory.block_scope: group keeps snapshots)");
  if (allocator_of(config.memory.allocator) != KvAllocator::paged && config.memory.prefix_cache != "off")
    warnings.push_back("no prefix cache: contiguous memory shares nothing");
  if (config.gpu->status == "estimated")
    warnings.push_back(fmt::format(
        "{} has no kernel measurements of its own: its kernels behave as {}'s, rescaled by published "
        "numbers; expect 5-10 % error on TPOT",
        config.gpu->name, config.gpu->kernels->card));
}

// Keys that say something and change nothing.
void warn_of_idle_keys(const RunConfig& config, bool grouped, std::vector<std::string>& warnings) {
  const auto idle = [&warnings](bool set, const char* key, const char* needs) {
    if (set) warnings.push_back(fmt::format("{} changes nothing without {}", key, needs));
  };
  const MemoryConfig& memory = config.memory;
  const MovementConfig& movement = memory.movement;
  if (config.trace.closed_loop) idle(config.trace.rate_scale != 1, "trace.rate_scale", "arrival times");
  idle(config.sampling.mode == "beam" && config.sampling.n == 1, "sampling.mode: beam", "sampling.n above 1");
  if (!grouped) {
    idle(memory.snapshot_tokens.has_value(), "memory.snapshot_tokens", "block tables per group of layers");
    idle(memory.reuse_passed, "memory.reuse_passed", "block tables per group of layers");
  }
  if (memory.allocator != "vmm") idle(!memory.vmm.is_default(), "memory.vmm", "memory.allocator: vmm");
  if (movement.tiers.empty()) {
    idle(movement.tier_load != MovementConfig{}.tier_load, "memory.tier_load", "memory.tiers");
    idle(movement.tier_split != MovementConfig{}.tier_split, "memory.tier_split", "memory.tiers");
  }
  if (!movement.moves()) {
    const char* const moves = "memory.tiers or memory.preemption: swap or cost";
    idle(movement.host_link.name != MovementConfig{}.host_link.name, "memory.host_link", moves);
    idle(movement.swap_gib != MovementConfig{}.swap_gib, "memory.swap_gib", moves);
    idle(movement.copy_unit != MovementConfig{}.copy_unit, "memory.copy_unit", moves);
  }
}

void warn_of_tiers(const RunConfig& config, const KvMoverSpec& movement, bool named,
                   std::vector<std::string>& warnings) {
  if (!named) warnings.push_back("tiers stay empty: the trace does not say which prompts share blocks");
  if (config.memory.prefix_cache == "off" && !movement.tiers.front().write_through)
    warnings.push_back(
        "tiers stay empty: with prefix_cache off HBM keeps nothing that could be written on evict, expected "
        "write: through");
}

// What works together. (What one key alone allows is checked where it is described.)
void check_combinations(const RunConfig& config, const RankModel& rank, const StepLimits& limits,
                        bool grouped) {
  const bool paged = config.memory.allocator == "paged";
  const bool radix = config.memory.prefix_cache == "radix";
  const std::int64_t n = config.sampling.n;
  if (n > 1 && (!paged || grouped || radix))
    throw InputError(
        fmt::format("sampling.n: {} answers share blocks copied on write, expected memory.allocator: paged, "
                    "prefix_cache: hash or off, and one block table (block_scope: all-layers)",
                    n));
  if (n > limits.max_num_seqs)
    throw InputError(fmt::format("sampling.n: {} sequences a request, expected at most max_num_seqs {}", n,
                                 limits.max_num_seqs));
  if (n > 1 && config.memory.movement.moves())
    throw InputError(fmt::format(
        "sampling.n: {} answers share blocks, which only stay in HBM, expected 1, or no memory.tiers and "
        "memory.preemption: recompute",
        n));
  if (config.memory.movement.moves() && grouped)
    throw InputError(
        "memory.block_scope: blocks belong to groups of layers (windows or states), moving KV needs blocks "
        "of all layers, expected memory.block_scope: all-layers");
  if (config.memory.movement.moves() && has_states(rank))
    throw InputError(fmt::format(
        "memory: {} keeps recurrent states, which stay in HBM, so its blocks alone are no prefix to bring "
        "back, expected no memory.tiers and memory.preemption: recompute",
        config.model->name));
  if (radix && grouped)
    throw InputError(
        "memory.prefix_cache: a radix tree is of whole tokens, expected hash, or block_scope: all-layers");
}

CacheSalt salt_of(const std::string& name) {
  return name == "tenant" ? CacheSalt::tenant : name == "session" ? CacheSalt::session : CacheSalt::none;
}

// Mapped memory: how a rank's KV memory of so many blocks divides into rows of pages.
VmmSpec vmm_of(const VmmConfig& config, const KvLayout& kv) {
  VmmSpec vmm;
  vmm.page_bytes = config.page_kib * 1024;
  vmm.tensors = 2;
  if (config.tensors == "layer") {
    vmm.tensors = 0;
    for (const KvGroup& group : kv.groups)
      vmm.tensors += group.layers_held * static_cast<std::int64_t>(group.parts.size());
  }
  const std::int64_t token_bytes = kv.bytes_per_token();
  if (token_bytes == 0 || vmm.tensors == 0)
    throw InputError("memory.allocator: 'vmm' maps KV of tokens, and this model keeps none, expected paged");
  vmm.token_bytes = ceil_div(token_bytes, vmm.tensors);
  const double map_us = config.map_us.value_or(config.page_kib >= 2048 ? 40 : 10);
  vmm.map_ps = microseconds(map_us).count();
  vmm.unmap_ps = microseconds(config.unmap_us.value_or(map_us)).count();
  vmm.defer_free = config.defer_free;
  vmm.map_ahead = config.map_ahead;
  return vmm;
}

void check_most(const RunConfig& config, std::int64_t blocks) {
  constexpr std::int64_t kMostBlocks = std::int64_t{1} << 28;
  if (blocks > kMostBlocks / config.replicas)
    throw InputError(
        fmt::format("memory.kv_blocks: {} blocks in each of {} replicas, expected at most {} in all",
                    human_count(blocks), config.replicas, human_count(kMostBlocks)));
}

// The KV memory of a rank: how many blocks, given or derived.
void size_memory(const RunConfig& config, const RankModel& rank, const StepLimits& limits,
                 const KvPagePlan* plan, RunResult& result) {
  result.weight_bytes = rank.weight_bytes() + rank.buffer_bytes();
  result.bytes_per_token = rank.kv.bytes_per_token();
  result.block_tokens = limits.block_tokens;
  result.block_bytes = plan != nullptr ? plan->block_bytes() : rank.kv.block_bytes(limits.block_tokens);
  if (plan != nullptr) {
    result.bytes_per_token = plan->block_bytes() / plan->block_tokens;  // of one slot of a block
    result.kv_groups = plan->text();
  }
  if (config.memory.kv_blocks) {
    result.capacity_derived = false;
    result.kv_blocks = *config.memory.kv_blocks;
    check_most(config, result.kv_blocks);
  } else {
    result.capacity = capacity_of(config, rank, limits, plan);
    result.kv_blocks = result.capacity.blocks;
  }
}

// The same memory cut into rows of pages. Returns its rows; what a row holds becomes the block.
std::int64_t cut_into_rows(const RunConfig& config, const KvLayout& kv, const VmmSpec& vmm,
                           StepLimits& limits, RunResult& result) {
  const std::int64_t bytes = result.kv_blocks * kv.block_bytes(limits.block_tokens);
  const std::int64_t row = vmm.page_bytes * vmm.tensors;
  result.kv_blocks = bytes / row;
  result.block_bytes = row;
  if (result.kv_blocks < 1)
    throw InputError(fmt::format(
        "memory.vmm.page_kib: one page in each of {} tensors takes {}, the KV memory is {}, expected "
        "smaller pages",
        vmm.tensors, human_bytes(static_cast<double>(row)), human_bytes(static_cast<double>(bytes))));
  limits.block_tokens = result.block_tokens = std::max<std::int64_t>(1, vmm.page_bytes / vmm.token_bytes);
  result.vmm =
      fmt::format("rows of {} pages of {} KiB, {:.1f} tokens a row", vmm.tensors, config.memory.vmm.page_kib,
                  static_cast<double>(vmm.page_bytes) / static_cast<double>(vmm.token_bytes));
  return result.kv_blocks;
}

}  // namespace

// The engine's limits with the profile's defaults filled in.
StepLimits limits_of(const RunConfig& config) {
  const EngineProfile& profile = *config.engine.profile;
  StepLimits limits;
  limits.max_num_seqs = config.engine.max_num_seqs.value_or(profile.default_max_num_seqs);
  limits.max_batched_tokens =
      config.engine.max_num_batched_tokens.value_or(profile.default_max_num_batched_tokens);
  limits.block_tokens = config.memory.block_tokens.value_or(profile.block_tokens);
  if (limits.max_batched_tokens < limits.max_num_seqs)
    throw InputError(
        fmt::format("engine.max_num_batched_tokens: {} is below max_num_seqs {}, expected at least that, so "
                    "that every decode fits a step",
                    limits.max_batched_tokens, limits.max_num_seqs));
  return limits;
}

bool RunPlan::shares_a_tier() const {
  return tiered() && std::any_of(replica.movement->tiers.begin(), replica.movement->tiers.end(),
                                 [](const TierSpec& t) { return t.global; });
}

RunPlan plan_run(const RunConfig& config, std::int64_t trace_tokens, RunResult& result) {
  RunPlan run;
  StepLimits limits = limits_of(config);
  const KvPrecision kv_dtype = resolve_kv_precision(*config.model, config.memory.kv_dtype);
  run.rank = partition(*config.model, config.parallel, kv_dtype);
  const FabricSpec fabric = config.fabric.name == "auto" ? usual_node(*config.gpu) : config.fabric.value;
  Fabric(fabric).require_gpus(config.parallel.ranks(), "parallel");
  const std::shared_ptr<const KvPagePlan> pages = page_plan(config, run.rank, limits.block_tokens);
  check_combinations(config, run.rank, limits, pages != nullptr);

  size_memory(config, run.rank, limits, pages.get(), result);
  std::int64_t usable = result.kv_blocks - (config.engine.profile->memory.null_block ? 1 : 0);
  VmmSpec vmm;
  if (config.memory.allocator == "vmm") {  // without a null row
    vmm = vmm_of(config.memory.vmm, run.rank.kv);
    usable = cut_into_rows(config, run.rank.kv, vmm, limits, result);
  }
  check_most(config, result.kv_blocks);
  if (usable < 1)
    throw InputError(
        "memory.kv_blocks: no usable KV block, expected at least 2 (one is the engine's null block)");
  warn_of_limits(config, run.rank, pages != nullptr, result.warnings);
  warn_of_idle_keys(config, pages != nullptr, result.warnings);

  run.replica = replica_spec(config, limits, usable);
  run.replica.movement = movement_spec(config.memory.movement, *config.gpu, run.rank, limits.block_tokens,
                                       limits.max_batched_tokens, config.replicas);
  run.sharing.trace_tokens = trace_tokens;
  run.sharing.engine_tokens = limits.block_tokens;
  run.sharing.shared_prefix_tokens = config.trace.shared_prefix_tokens;
  run.sharing.salt = salt_of(config.memory.cache_salt);
  if (trace_tokens > 0 && run.sharing.shared_prefix_tokens > 0)
    throw InputError(
        "trace.shared_prefix_tokens: the trace names the blocks its prompts share itself, expected 0");
  KvMemorySpec& memory = run.replica.memory;
  memory.plan = pages;
  if (pages == nullptr && has_states(run.rank)) memory.prefix_cache = false;
  memory.reuse_passed = config.memory.reuse_passed;
  memory.max_batched_tokens = limits.max_batched_tokens;
  memory.vmm = vmm;
  memory.hashed_prompts = run.sharing.known();
  memory.keep_drops = run.tiered();
  if (run.tiered()) warn_of_tiers(config, *run.replica.movement, run.sharing.known(), result.warnings);
  return run;
}

}  // namespace tessera
