#include "sim/serving/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "models/base/text.hpp"
#include "models/base/units.hpp"
#include "models/transformer/kv_pages.hpp"
#include "sim/memory/block_hash.hpp"
#include "sim/serving/kernel_table_reader.hpp"
#include "sim/serving/profile_operators.hpp"
#include "sim/serving/prompt_blocks.hpp"
#include "sim/serving/replica.hpp"
#include "sim/serving/roofline_operators.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kProgressEvery = 4096;
constexpr std::int64_t kSnapshotTokens = 1024;
constexpr std::int64_t kContiguous = 4096;  // over mapped memory kernels read as over one block of this size

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
  for (const KvGroup& group : rank.kv.groups)
    if (group.rule.bounded() && group.entry_bytes > 0) return true;
  return false;
}

// Block tables per group of layers, or null where a block spans all of them.
std::shared_ptr<const KvPagePlan> page_plan(const RunConfig& config, const RankModel& rank,
                                            std::int64_t block_tokens) {
  const std::string& scope = config.memory.block_scope;
  const bool paged = allocator_of(config.memory.allocator) == KvAllocator::paged;
  if (!paged || scope == "all-layers" || (scope == "auto" && !has_windows(rank))) return nullptr;
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
  for (const KvGroup& group : rank.kv.groups)
    if (!grouped && group.rule.bounded() && group.entry_bytes > 0) {
      warnings.push_back(
          "windowed layers hold KV of the whole context: blocks span all layers, as in engines without a "
          "hybrid allocator; their traffic is bounded by the window");
      break;
    }
  if (allocator_of(config.memory.allocator) != KvAllocator::paged && config.memory.prefix_cache != "off")
    warnings.push_back("no prefix cache: contiguous memory shares nothing");
  if (config.gpu->status == "estimated")
    warnings.push_back(fmt::format(
        "{} has no kernel measurements of its own: its kernels behave as {}'s, rescaled by published "
        "numbers; expect 5-10 % error on TPOT",
        config.gpu->name, config.gpu->kernels->card));
}

bool shares_a_tier(const KvMoverSpec& movement) {
  return std::any_of(movement.tiers.begin(), movement.tiers.end(),
                     [](const TierSpec& t) { return t.global; });
}

// Engines that share a tier act in order of time, the first named first where times are equal.
void advance_together(const std::vector<std::unique_ptr<Replica>>& replicas, std::int64_t until_ps) {
  for (;;) {
    Replica* first = nullptr;
    std::int64_t next = until_ps;  // when another acts
    for (const auto& replica : replicas) {
      if (first == nullptr || replica->next_action_ps() < first->next_action_ps()) {
        if (first != nullptr) next = std::min(next, first->next_action_ps());
        first = replica.get();
      } else {
        next = std::min(next, replica->next_action_ps());
      }
    }
    const std::int64_t acts = first->next_action_ps();
    if (acts >= until_ps || first->stopped()) return;
    first->advance(std::min(until_ps, std::max(next, acts + 1)));
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

std::unique_ptr<TraceReader> trace_of(const RunConfig& config) {
  if (config.trace.file.empty() && config.trace.closed_loop) {
    config.trace.closed_loop->check_lengths(false);
    return equal_requests(*config.trace.closed_loop);
  }
  ReadOptions read;
  read.format = config.trace.format;
  read.limit = config.trace.limit;
  read.rate_scale = config.trace.rate_scale;
  read.seed = static_cast<std::uint64_t>(config.seed);
  read.need_arrivals = !config.trace.closed_loop;
  return open_trace(config.trace.file, read);
}

// What works together. (What one key alone allows is checked where it is described.)
void check_combinations(const RunConfig& config, const StepLimits& limits, bool grouped) {
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
        "memory.block_scope: this model's layers keep windows, so blocks belong to groups of layers; moving "
        "KV "
        "needs memory.block_scope: all-layers");
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
  std::int64_t token_bytes = 0;
  for (const KvGroup& group : kv.groups) {
    const auto parts = static_cast<std::int64_t>(group.parts.size());
    vmm.tensors += config.tensors == "layer" ? group.layers_held * parts : 0;
    token_bytes += group.layers_held * group.entry_bytes;
  }
  if (config.tensors != "layer") vmm.tensors = 2;
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

}  // namespace

std::unique_ptr<StepCost> make_step_cost(const RunConfig& config, const RankModel& rank,
                                         std::vector<std::string>& warnings) {
  EngineProfile engine = *config.engine.profile;
  const StepLimits limits = limits_of(config);
  engine.limit_graphs(limits.max_num_seqs, limits.max_batched_tokens);
  std::unique_ptr<StepOperators> operators;
  if (config.cost.source == "table" && is_layer_profile(config.cost.tables.front())) {
    operators = profile_operators(read_layer_profile(config.cost.tables), rank, engine);
    if (rank.parallel.tp > 1)
      warnings.push_back("a layer profile has no collectives: all-reduce time is left out");
  } else {
    Gpu gpu = *config.gpu;
    carry_over_kernels(gpu);
    std::shared_ptr<const KernelTable> table;
    if (config.cost.source == "table")
      table = std::make_shared<const KernelTable>(read_kernel_tables(config.cost.tables, gpu));
    const bool mapped = allocator_of(config.memory.allocator) == KvAllocator::mapped;
    operators = roofline_operators(gpu, rank, engine, mapped ? kContiguous : limits.block_tokens,
                                   std::move(table), config.cost.source == "tile");
  }
  const std::string& cascade = config.engine.profile->cascade;
  return std::make_unique<StepPricer>(std::move(operators), cascade == "on"     ? Cascade::always
                                                            : cascade == "auto" ? Cascade::when_faster
                                                                                : Cascade::off);
}

RunResult simulate(const RunConfig& config, const RunHooks& hooks) {
  return simulate(config, *trace_of(config), hooks);
}

RunResult simulate(const RunConfig& config, TraceReader& trace, const RunHooks& hooks) {
  RunResult result;
  result.config = config;
  result.config.engine.scheduler = scheduler_of(config);
  StepLimits limits = limits_of(config);
  const KvPrecision kv_dtype = resolve_kv_precision(*config.model, config.memory.kv_dtype);
  const RankModel rank = partition(*config.model, config.parallel, kv_dtype);
  const FabricSpec fabric = config.fabric.name == "auto" ? usual_node(*config.gpu) : config.fabric.value;
  Fabric(fabric).require_gpus(config.parallel.ranks(), "parallel");

  const std::shared_ptr<const KvPagePlan> plan = page_plan(config, rank, limits.block_tokens);
  check_combinations(config, limits, plan != nullptr);

  // Memory: given or derived.
  result.weight_bytes = rank.weight_bytes() + rank.buffer_bytes();
  result.bytes_per_token = rank.kv.bytes_per_token();
  result.block_tokens = limits.block_tokens;
  if (plan != nullptr) {
    result.bytes_per_token = plan->block_bytes() / plan->block_tokens;  // of one slot of a block
    result.kv_groups = plan->text();
  }
  const bool null_block = config.engine.profile->memory.null_block;
  if (config.memory.kv_blocks) {
    result.capacity_derived = false;
    result.kv_blocks = *config.memory.kv_blocks;
  } else {
    result.capacity = capacity_of(config, rank, limits, plan.get());
    result.kv_blocks = result.capacity.blocks;
  }
  std::int64_t usable = result.kv_blocks - (null_block ? 1 : 0);
  VmmSpec vmm;
  if (config.memory.allocator == "vmm") {  // the same memory, cut into rows; no block is a placeholder
    vmm = vmm_of(config.memory.vmm, rank.kv);
    const std::int64_t bytes = result.kv_blocks * rank.kv.block_bytes(limits.block_tokens);
    const std::int64_t row = vmm.page_bytes * vmm.tensors;
    usable = result.kv_blocks = bytes / row;
    if (usable < 1)
      throw InputError(fmt::format(
          "memory.vmm.page_kib: one page in each of {} tensors takes {}, the KV memory is {}, expected "
          "smaller "
          "pages",
          vmm.tensors, human_bytes(static_cast<double>(row)), human_bytes(static_cast<double>(bytes))));
    limits.block_tokens = result.block_tokens = std::max<std::int64_t>(1, vmm.page_bytes / vmm.token_bytes);
    result.vmm = fmt::format("rows of {} pages of {} KiB, {:.1f} tokens a row", vmm.tensors,
                             config.memory.vmm.page_kib,
                             static_cast<double>(vmm.page_bytes) / static_cast<double>(vmm.token_bytes));
  }
  constexpr std::int64_t kMostBlocks = std::int64_t{1} << 28;
  if (usable > kMostBlocks / config.replicas)
    throw InputError(
        fmt::format("memory.kv_blocks: {} blocks in each of {} replicas, expected at most {} in all",
                    human_count(result.kv_blocks), config.replicas, human_count(kMostBlocks)));
  if (usable < 1)
    throw InputError(
        "memory.kv_blocks: no usable KV block, expected at least 2 (one is the engine's null block)");
  warn_of_limits(config, rank, plan != nullptr, result.warnings);

  Metrics& metrics = result.metrics;
  metrics.slo_ttft_ms = config.slo.ttft_ms;
  metrics.slo_tpot_ms = config.slo.tpot_ms;
  metrics.on_step = hooks.on_step;
  metrics.on_memory = hooks.on_memory;
  std::unordered_map<std::uint32_t, std::string> ids;  // of live requests, only if someone asks
  if (hooks.on_request) {
    const auto take_id = [&ids](std::uint32_t row) {
      const auto at = ids.find(row);
      std::string id = at == ids.end() ? std::string() : std::move(at->second);
      if (at != ids.end()) ids.erase(at);
      return id;
    };
    metrics.on_finish = [&hooks, take_id](const RequestRecord& record) {
      hooks.on_request(record, take_id(record.row));
    };
  }
  ReplicaSpec spec = replica_spec(config, limits, usable);
  const std::shared_ptr<KvMoverSpec> movement =
      movement_spec(config.memory.movement, *config.gpu, rank, limits.block_tokens, limits.max_batched_tokens,
                    config.replicas);
  spec.movement = movement;
  spec.memory.plan = plan;
  spec.memory.reuse_passed = config.memory.reuse_passed;
  spec.memory.max_batched_tokens = limits.max_batched_tokens;
  spec.leap = hooks.leap;
  spec.stop = hooks.stop;
  spec.memory.vmm = vmm;
  PromptSharing sharing;
  sharing.trace_tokens = trace.info().block_tokens;
  sharing.engine_tokens = limits.block_tokens;
  sharing.shared_prefix_tokens = config.trace.shared_prefix_tokens;
  sharing.salt = salt_of(config.memory.cache_salt);
  if (sharing.trace_tokens > 0 && sharing.shared_prefix_tokens > 0)
    throw InputError(
        "trace.shared_prefix_tokens: the trace names the blocks its prompts share itself, expected 0");
  spec.memory.hashed_prompts = sharing.known();
  const bool tiered = movement != nullptr && !movement->tiers.empty();
  spec.memory.keep_drops = tiered;
  if (tiered) warn_of_tiers(config, *movement, sharing.known(), result.warnings);
  // Every replica prices on its own: what one remembers of its batches must not depend on another's.
  std::vector<std::unique_ptr<StepCost>> costs;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (std::int64_t i = 0; i < config.replicas; ++i) {
    std::vector<std::string> said;
    costs.push_back(make_step_cost(config, rank, i == 0 ? result.warnings : said));
    spec.engine = static_cast<int>(i);
    spec.memory.seed = mix64(static_cast<std::uint64_t>(config.seed) + static_cast<std::uint64_t>(i));
    replicas.push_back(std::make_unique<Replica>(spec, *costs.back(), metrics));
  }

  const bool shared = movement != nullptr && shares_a_tier(*movement) && replicas.size() > 1;
  PromptBlocks blocks(sharing);
  if ((spec.memory.prefix_cache || tiered) && !blocks.problem().empty())
    result.warnings.push_back(blocks.problem());
  const auto stopped = [&hooks] { return hooks.stop != nullptr && *hooks.stop != 0; };
  Request request;
  std::uint32_t row = 0;
  // The next request of the trace, if the run goes on.
  const auto next = [&] {
    if (stopped() || !trace.next(request)) return false;
    if (row % kProgressEvery == 0 && hooks.progress && !hooks.progress(row, trace.info().requests))
      result.interrupted = true;
    return !result.interrupted;
  };
  const auto hand_over = [&](std::int64_t arrival_ps, Replica& replica) {
    Arrival arrival;
    arrival.row = row;
    arrival.arrival_ps = arrival_ps;
    arrival.input_tokens = request.input_tokens;
    arrival.output_tokens = request.output_tokens;
    arrival.block_hashes = blocks.hashes(request);
    if (hooks.on_request) ids.emplace(row, std::string(request.id));
    const std::string reason = replica.arrive(arrival);
    if (!reason.empty() && hooks.on_request) {
      RequestRecord rejected;
      rejected.row = row;
      rejected.arrival_ps = arrival_ps;
      rejected.input_tokens = request.input_tokens;
      rejected.output_tokens = request.output_tokens;
      hooks.on_request(rejected, request.id);
      ids.erase(row);
    }
    ++row;
    return reason.empty();
  };
  std::optional<ClosedLoop> clients;
  if (config.trace.closed_loop) {
    clients.emplace(*config.trace.closed_loop, spec.frontend_ps);
    metrics.on_finish = [&clients, then = metrics.on_finish](const RequestRecord& record) {
      clients->answered(record.finish_ps);
      if (then) then(record);
    };
    clients->play(replicas, [&](std::int64_t arrival_ps, Replica& replica) {
      if (!next()) return ClosedLoop::Sent::none;
      return hand_over(arrival_ps, replica) ? ClosedLoop::Sent::accepted : ClosedLoop::Sent::rejected;
    });
  } else {
    while (next()) {
      // Each engine lives on its own clock unless they share a tier; requests are dealt in turn.
      Replica& replica = *replicas[row % replicas.size()];
      if (shared)
        advance_together(replicas, request.arrival_ps + spec.frontend_ps);
      else
        replica.advance(request.arrival_ps + spec.frontend_ps);
      hand_over(request.arrival_ps, replica);
    }
  }
  if (shared) advance_together(replicas, std::numeric_limits<std::int64_t>::max());
  for (const auto& replica : replicas) replica->finish();
  if (movement != nullptr) result.movement = movement_report(replicas, metrics);
  if (hooks.stop != nullptr && *hooks.stop != 0) result.interrupted = true;
  if (row == 0 && !result.interrupted) throw InputError({trace.info().file, 0, 0}, "holds no requests");
  result.trace = trace.info();
  result.origins = costs.front()->origins();
  for (const auto& cost : costs) result.kernel_simulation_s += cost->simulated_s();
  if (metrics.out_of_range_steps > 0)
    result.warnings.push_back(fmt::format("{} of {} steps were priced outside the calibrated range",
                                          human_count(metrics.out_of_range_steps),
                                          human_count(metrics.steps)));
  for (const auto& [reason, count] : metrics.rejected)
    result.warnings.push_back(fmt::format("{} requests rejected: {}", human_count(count), reason));
  if (metrics.preemptions > 0)
    result.warnings.push_back(fmt::format(
        "KV pressure: {} preemptions, {} tokens recomputed; results react strongly to capacity here",
        human_count(metrics.preemptions), human_count(metrics.recomputed_tokens)));
  return result;
}

}  // namespace tessera
