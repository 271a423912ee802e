#include "sim/serving/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "models/base/text.hpp"
#include "sim/memory/block_hash.hpp"
#include "sim/serving/action_order.hpp"
#include "sim/serving/kernel_table_reader.hpp"
#include "sim/serving/profile_operators.hpp"
#include "sim/serving/roofline_operators.hpp"
#include "sim/serving/run_plan.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kProgressEvery = 4096;
constexpr std::int64_t kContiguous = 4096;  // over mapped memory kernels read as over one block of this size

// Engines that share a tier act in order of time, the first named first where times are equal. `order` knows
// when each acts.
void advance_together(const std::vector<std::unique_ptr<Replica>>& replicas, ActionOrder& order,
                      std::int64_t until_ps) {
  for (;;) {
    const std::size_t first = order.first();
    const std::int64_t acts = order.first_ps();
    if (acts >= until_ps || replicas[first]->stopped()) return;
    replicas[first]->advance(std::min(until_ps, std::max(order.second_ps(), acts + 1)));
    order.set(first, replicas[first]->next_action_ps());
  }
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
    const bool mapped = config.memory.allocator == "vmm";
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
  RunPlan plan = plan_run(config, trace.info().block_tokens, result);

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
  ReplicaSpec& spec = plan.replica;
  spec.leap = hooks.leap;
  spec.stop = hooks.stop;
  // Every replica prices on its own: what one remembers of its batches must not depend on another's.
  std::vector<std::unique_ptr<StepCost>> costs;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (std::int64_t i = 0; i < config.replicas; ++i) {
    std::vector<std::string> said;
    costs.push_back(make_step_cost(config, plan.rank, i == 0 ? result.warnings : said));
    spec.engine = static_cast<int>(i);
    spec.memory.seed = mix64(static_cast<std::uint64_t>(config.seed) + static_cast<std::uint64_t>(i));
    replicas.push_back(std::make_unique<Replica>(spec, *costs.back(), metrics));
  }

  const bool shared = plan.shares_a_tier() && replicas.size() > 1;
  ActionOrder order(replicas.size());
  PromptBlocks blocks(plan.sharing);
  if ((spec.memory.prefix_cache || plan.tiered()) && !blocks.problem().empty())
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
      const std::size_t to = row % replicas.size();
      Replica& replica = *replicas[to];
      if (shared)
        advance_together(replicas, order, request.arrival_ps + spec.frontend_ps);
      else
        replica.advance(request.arrival_ps + spec.frontend_ps);
      hand_over(request.arrival_ps, replica);
      order.set(to, replica.next_action_ps());
    }
  }
  // Engines of a closed loop have acted on their own account.
  for (std::size_t i = 0; i < replicas.size(); ++i) order.set(i, replicas[i]->next_action_ps());
  if (shared) advance_together(replicas, order, ActionOrder::kNever);
  for (const auto& replica : replicas) replica->finish();
  if (spec.movement != nullptr) result.movement = movement_report(replicas, metrics);
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
