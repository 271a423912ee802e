#include "sim/report/summary.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "models/base/units.hpp"
#include "sim/report/latency_stats.hpp"
#include "sim/report/movement_section.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

void put(Json& out, const char* name, const LatencyStats& stats) {
  const std::string key = name;
  out["mean_" + key + "_ms"] = number(stats.mean);
  out["median_" + key + "_ms"] = number(stats.p50);
  out["p90_" + key + "_ms"] = number(stats.p90);
  out["p95_" + key + "_ms"] = number(stats.p95);
  out["p99_" + key + "_ms"] = number(stats.p99);
}

Json kv_section(const RunResult& result) {
  const Metrics& m = result.metrics;
  const double waste = m.slot_time - m.resident_time - m.reserved_time;
  const double slots = m.slot_time + m.external_time;
  Json kv;
  kv["capacity_blocks"] = result.kv_blocks;
  kv["capacity_derived"] = result.capacity_derived;
  kv["block_tokens"] = result.block_tokens;
  kv["block_bytes"] = result.block_bytes;
  kv["bytes_per_token"] = result.bytes_per_token;
  kv["peak_blocks"] = m.peak_blocks;
  kv["mean_blocks"] = number(ratio(m.block_time, m.step_time));
  kv["useful_fraction"] = ratio(m.resident_time, slots);
  kv["internal_waste_fraction"] = ratio(waste, slots);
  if (!result.kv_groups.empty()) {
    kv["group_padding_fraction"] = ratio(m.padding_time, slots);
    kv["groups"] = result.kv_groups;
  }
  kv["external_waste_fraction"] = ratio(m.external_time, slots);
  kv["reserved_fraction"] = ratio(m.reserved_time, slots);
  kv["duplicate_fraction"] = ratio(m.duplicate_time, slots);
  if (result.config.memory.allocator == "paged" && m.slot_time > 0)
    kv["sharing_saved_fraction"] = 1 - m.block_time * static_cast<double>(result.block_tokens) / m.slot_time;
  kv["prefix_hit_ratio"] =
      ratio(static_cast<double>(m.prompt_tokens_hit), static_cast<double>(m.prompt_tokens_looked_up));
  kv["preemptions"] = m.preemptions;
  kv["recomputed_tokens"] = m.recomputed_tokens;
  kv["evictions"] = m.evictions;
  if (m.sequences > 1)
    kv["copied_on_write"] = {{"blocks", m.copied_blocks},
                             {"bytes", m.copied_blocks * result.block_tokens * result.bytes_per_token}};
  if (!result.vmm.empty())
    kv["mapped"] = {{"layout", result.vmm},
                    {"pages", m.mapped_pages},
                    {"stall_s", static_cast<double>(m.map_stall_ps) * 1e-12}};
  kv["mean_batched_requests"] = ratio(m.running_time, m.step_time);
  if (result.capacity_derived) {
    const CapacityBreakdown& c = result.capacity;
    kv["capacity"] = {{"total_bytes", c.total_bytes},
                      {"utilisation", c.utilisation},
                      {"weight_bytes", c.weight_bytes},
                      {"buffer_bytes", c.buffer_bytes},
                      {"activation_bytes", c.activation_bytes},
                      {"nontorch_bytes", c.nontorch_bytes},
                      {"cuda_graph_bytes", c.cuda_graph_bytes},
                      {"state_bytes", c.state_bytes},
                      {"kv_bytes", c.kv_bytes},
                      {"block_bytes", c.block_bytes},
                      {"blocks_low", c.blocks_low},
                      {"blocks_high", c.blocks_high}};
  }
  return kv;
}

Json steps_section(const RunResult& result) {
  const Metrics& m = result.metrics;
  const StepTerms& t = m.terms;
  Json parts, terms;
  for (std::size_t i = 0; i < kStepParts; ++i) parts[name_of(static_cast<StepPart>(i))] = t.part[i] * 1e-6;
  terms = {{"compute", t.compute * 1e-6}, {"hbm", t.hbm * 1e-6},       {"l2", t.l2 * 1e-6},
           {"link", t.link * 1e-6},       {"launch", t.launch * 1e-6}, {"host", t.host * 1e-6}};
  Json steps;
  steps["count"] = m.steps;
  steps["with_prefill"] = m.mixed_steps;
  steps["prefill_tokens"] = m.prefill_tokens;
  steps["decode_tokens"] = m.decode_tokens;
  steps["busy_s"] = static_cast<double>(m.busy_ps) * 1e-12;
  steps["mean_ms"] = m.steps > 0
                         ? number(static_cast<double>(m.busy_ps) * 1e-9 / static_cast<double>(m.steps))
                         : Json(nullptr);
  steps["peak_running"] = m.peak_running;
  steps["peak_waiting"] = m.peak_waiting;
  if (result.config.engine.profile->cascade != "off")
    steps["cascade"] = {{"steps", std::llround(t.cascade_steps)},
                        {"saved_hbm_bytes", t.cascade_saved_bytes},
                        {"saved_share", ratio(t.cascade_saved_bytes, t.cascade_saved_bytes + t.hbm_bytes)}};
  steps["seconds_by_operator"] = parts;
  steps["seconds_by_resource"] = terms;
  return steps;
}

}  // namespace

std::string summary_json(const RunResult& result, const Volatile& machine) {
  const Metrics& m = result.metrics;
  const double duration = static_cast<double>(m.last_finish_ps) * 1e-12;
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : m.rejected) rejected += count;
  const RunLatency latency = latency_of(m);

  Json out;
  out["name"] = result.config.name;
  out["gpu"] = result.config.gpu->name;
  out["model"] = result.config.model->name;
  out["interrupted"] = result.interrupted;
  out["completed"] = m.completed;
  out["rejected"] = rejected;
  out["rejected_reasons"] = Json::object();
  for (const auto& [reason, count] : m.rejected) out["rejected_reasons"][reason] = count;
  out["duration"] = duration;
  out["total_input_tokens"] = m.input_tokens;
  out["total_output_tokens"] = m.output_tokens;
  out["request_throughput"] = ratio(static_cast<double>(m.completed), duration);
  out["output_throughput"] = ratio(static_cast<double>(m.output_tokens), duration);
  out["total_token_throughput"] = ratio(static_cast<double>(m.input_tokens + m.output_tokens), duration);
  put(out, "ttft", latency.ttft);
  put(out, "tpot", latency.tpot);
  put(out, "itl", latency.itl);
  put(out, "e2el", latency.e2el);
  out["request_goodput"] = ratio(static_cast<double>(m.good), duration);
  out["slo"] = {
      {"ttft_ms", result.config.slo.ttft_ms},
      {"tpot_ms", result.config.slo.tpot_ms},
      {"met_fraction", ratio(static_cast<double>(m.good), static_cast<double>(m.completed + rejected))}};
  out["kv"] = kv_section(result);
  out["bytes"] = {{"hbm", {{"weights_per_rank", result.weight_bytes}, {"moved_per_rank", m.terms.hbm_bytes}}},
                  {"link", {{"moved_per_rank", m.terms.link_bytes}}}};
  if (result.movement) put_movement(out, *result.movement);
  out["steps"] = steps_section(result);
  Json origins = Json::array();
  for (const CostOrigin& origin : result.origins)
    origins.push_back({{"operator", origin.op},
                       {"source", origin.source},
                       {"class", origin.status},
                       {"detail", origin.detail}});
  out["calibration"] = {{"sources", origins}, {"steps_out_of_range", m.out_of_range_steps}};
  out["trace"] = {
      {"file", result.trace.file}, {"format", result.trace.format}, {"notes", result.trace.notes}};
  out["definitions"] = {
      {"ttft", "first token - arrival, as a client sees it"},
      {"tpot", "(e2el - ttft) / (output tokens - 1); requests of one output token left out"},
      {"itl", "all gaps between tokens of a request pooled; exact mean, percentiles within 0.6 %"},
      {"e2el", "last token - arrival"},
      {"duration", "first arrival to last token, s"},
      {"request_goodput", "requests that meet ttft and tpot limits / duration"},
      {"useful_fraction",
       "tokens stored / token slots given out or lost between regions while requests wait, weighted by step "
       "time"},
      {"duplicate_fraction",
       "of the same slots, those whose tokens (full prompt blocks the trace names) another block in use "
       "holds "
       "as well; part of useful_fraction"},
      {"sharing_saved_fraction",
       "1 - blocks in use / blocks if every sequence had its own, weighted by step time"},
      {"busy_fraction",
       "time a link is reserved / its span_s: to the last token, or to the end of its last transfer if "
       "later; "
       "gb_s and percent_of_peak alike"}};
  out["warnings"] = result.warnings;
  out["seed"] = result.config.seed;
  out["volatile"] = {{"wall_s", machine.wall_s},
                     {"requests_per_s", ratio(static_cast<double>(m.completed), machine.wall_s)},
                     {"kernel_simulation_s", result.kernel_simulation_s},
                     {"peak_memory_bytes", machine.peak_memory_bytes}};
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace tessera
