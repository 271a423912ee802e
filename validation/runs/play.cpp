#include "validation/runs/play.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "models/base/error.hpp"
#include "sim/report/latency_stats.hpp"
#include "sim/serving/simulate.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

constexpr double kMsPerPs = 1e-9;

}  // namespace

PlayedRun play(const MeasuredRun& run) {
  RunHooks hooks;
  double queue_ms = 0;  // sum over requests of what passed before the engine saw them
  if (run.from_queue)
    hooks.on_request = [&queue_ms](const RequestRecord& r, std::string_view) {
      if (r.finish_ps >= 0) queue_ms += static_cast<double>(r.queued_ps - r.arrival_ps) * kMsPerPs;
    };
  const RunResult result = run.requests.empty()
                               ? simulate(run.config, hooks)
                               : simulate(run.config, *open_trace({run.id, run.requests}), hooks);
  const Metrics& m = result.metrics;
  if (m.completed == 0) throw RunError("no request completes");
  const RunLatency latency = latency_of(m);
  const double queued = queue_ms / static_cast<double>(m.completed);
  PlayedRun played;
  const std::map<std::string, double> all{
      {"ttft", latency.ttft.mean - queued},
      {"tpot", run.tpot_over_tokens ? latency.itl.mean : latency.tpot.mean},
      {"latency", latency.e2el.mean - queued}};
  for (const auto& [metric, measured] : run.measured_ms) {
    const auto found = all.find(metric);
    if (found != all.end()) played.predicted_ms[metric] = found->second;
  }
  played.steps = static_cast<double>(m.steps);
  for (std::size_t i = 0; i < kStepParts; ++i) played.part_ms[i] = m.terms.part[i] * 1e-3 / played.steps;
  played.batch = m.running_time / m.step_time;
  const EngineProfile& profile = *run.config.engine.profile;
  const int tp = static_cast<int>(run.config.parallel.tp);
  played.host_ms =
      (static_cast<double>(profile.host_time(tp, 0).count()) +
       static_cast<double>((profile.host_time(tp, 1) - profile.host_time(tp, 0)).count()) * played.batch) *
      kMsPerPs;
  played.preemptions = m.preemptions;
  for (const auto& [reason, count] : m.rejected) played.rejected += count;
  played.kv_tokens = result.kv_blocks * result.block_tokens;
  return played;
}

std::vector<PlayedRun> play(std::span<const MeasuredRun> runs) {
  std::vector<PlayedRun> played(runs.size());
  std::vector<std::exception_ptr> errors(runs.size());
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < runs.size(); i = next++) try {
        played[i] = play(runs[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
  };
  {
    const std::size_t threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1,
                                                        std::max<std::size_t>(1, runs.size()));
    std::vector<std::jthread> pool;
    for (std::size_t i = 1; i < threads; ++i) pool.emplace_back(work);
    work();
  }
  for (std::size_t i = 0; i < runs.size(); ++i) try {
      if (errors[i]) std::rethrow_exception(errors[i]);
    } catch (const InputError& error) {
      throw InputError("run '" + runs[i].id + "': " + error.what());
    } catch (const std::exception& error) {
      throw RunError("run '" + runs[i].id + "': " + error.what());
    }
  return played;
}

}  // namespace tessera
