#include <fmt/format.h>

#include <cmath>

#include "models/base/text.hpp"
#include "sim/report/latency_stats.hpp"
#include "sim/report/movement_section.hpp"
#include "sim/report/summary.hpp"

namespace tessera {
namespace {

struct Style {
  const char *bold, *dim, *warn, *off;
};
constexpr Style kPlain{"", "", "", ""};
constexpr Style kColour{"\033[1m", "\033[2m", "\033[33m", "\033[0m"};

std::string ms(double value) {
  if (std::isnan(value)) return "-";
  if (value >= 1e5) return fmt::format("{:.0f} s", value * 1e-3);
  if (value >= 1e4) return fmt::format("{:.1f} s", value * 1e-3);
  return value >= 100 ? fmt::format("{:.0f} ms", value) : fmt::format("{:.1f} ms", value);
}

std::string row(const char* name, const LatencyStats& s) {
  return fmt::format("  {:<6}{:>10}{:>10}{:>10}{:>10}{:>10}\n", name, ms(s.mean), ms(s.p50), ms(s.p90),
                     ms(s.p95), ms(s.p99));
}

double share(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

std::string summary_text(const RunResult& result, const Volatile& machine, bool colour) {
  const Style& style = colour ? kColour : kPlain;
  const RunConfig& config = result.config;
  const Metrics& m = result.metrics;
  const double duration = static_cast<double>(m.last_finish_ps) * 1e-12;
  const RunLatency latency = latency_of(m);
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : m.rejected) rejected += count;
  const std::int64_t gpus = config.parallel.ranks() * config.replicas;

  std::string out = fmt::format("{}{} on {} x {}{}  ({}, {} scheduler)\n", style.bold,
                                config.model->title.empty() ? config.model->name : config.model->title, gpus,
                                config.gpu->title.empty() ? config.gpu->name : config.gpu->title, style.off,
                                config.engine.profile->name, config.engine.scheduler);
  out += fmt::format("{}{}: {}{}\n\n", style.dim, result.trace.format, result.trace.file, style.off);

  out += fmt::format("  {} requests completed, {} rejected in {:.1f} s{}\n", human_count(m.completed),
                     human_count(rejected), duration,
                     result.interrupted ? "  (interrupted: what had arrived)" : "");
  if (duration > 0)
    out += fmt::format(
        "  {:.2f} requests/s   {:.0f} output tokens/s   {:.0f} tokens/s in all   {:.0f} per GPU\n",
        static_cast<double>(m.completed) / duration, static_cast<double>(m.output_tokens) / duration,
        static_cast<double>(m.input_tokens + m.output_tokens) / duration,
        static_cast<double>(m.input_tokens + m.output_tokens) / duration / static_cast<double>(gpus));
  out += fmt::format("  {:.1f} % meet TTFT <= {} and TPOT <= {}\n\n",
                     share(static_cast<double>(m.good), static_cast<double>(m.completed + rejected)),
                     ms(config.slo.ttft_ms), ms(config.slo.tpot_ms));

  out += fmt::format("{}  {:<6}{:>10}{:>10}{:>10}{:>10}{:>10}{}\n", style.dim, "", "mean", "p50", "p90",
                     "p95", "p99", style.off);
  out += row("TTFT", latency.ttft) + row("TPOT", latency.tpot) + row("ITL", latency.itl) +
         row("E2EL", latency.e2el);

  const double capacity = static_cast<double>(result.kv_blocks);
  // What the rule's ranges give, in this allocator's blocks.
  const auto in_blocks = [&](std::int64_t blocks) {
    return human_count(result.vmm.empty() ? blocks
                                          : blocks * result.capacity.block_bytes / result.block_bytes);
  };
  out += fmt::format("\n  KV cache   {} blocks of {} tokens = {} ({}), peak {:.0f} %, mean {:.0f} %\n",
                     human_count(result.kv_blocks), result.block_tokens,
                     human_bytes(capacity * static_cast<double>(result.block_bytes)),
                     result.capacity_derived ? fmt::format("derived; {} to {} by the rule's ranges",
                                                           in_blocks(result.capacity.blocks_low),
                                                           in_blocks(result.capacity.blocks_high))
                                             : std::string("given"),
                     share(static_cast<double>(m.peak_blocks), capacity),
                     m.step_time > 0 ? share(m.block_time / m.step_time, capacity) : 0.0);
  out += fmt::format(
      "             {:.1f} % of KV slots in use hold tokens, prefix hits {:.1f} % of prompt tokens, {} "
      "preemptions\n",
      share(m.resident_time, m.slot_time + m.external_time),
      share(static_cast<double>(m.prompt_tokens_hit), static_cast<double>(m.prompt_tokens_looked_up)),
      human_count(m.preemptions));
  const double slots = m.slot_time + m.external_time;
  const double internal = m.slot_time - m.resident_time - m.reserved_time;
  out += fmt::format(
      "             the rest: reserved {:.1f} %, internal {:.1f} %, external {:.1f} %; held twice {:.1f} %\n",
      share(m.reserved_time, slots), share(internal, slots), share(m.external_time, slots),
      share(m.duplicate_time, slots));
  if (m.sequences > 1)
    out += fmt::format(
        "             {} sequences a request share {:.1f} % of their blocks, {} copied on write\n",
        m.sequences,
        share(m.slot_time - m.block_time * static_cast<double>(result.block_tokens), m.slot_time),
        human_count(m.copied_blocks));
  if (!result.vmm.empty())
    out +=
        fmt::format("             {}; {} pages mapped, steps waited {} for them\n", result.vmm,
                    human_count(m.mapped_pages), human_seconds(static_cast<double>(m.map_stall_ps) * 1e-12));
  if (m.terms.cascade_steps > 0)
    out += fmt::format("             cascade attention read shared prefixes once in {} steps: {} saved\n",
                       human_count(std::llround(m.terms.cascade_steps)),
                       human_bytes(m.terms.cascade_saved_bytes));
  if (result.capacity_derived) {
    const CapacityBreakdown& c = result.capacity;
    const auto gib = [](std::int64_t bytes) {
      return fmt::format("{:.2f}", static_cast<double>(bytes) / 1073741824.0);
    };
    out += fmt::format(
        "             {} GiB x {} - weights {} - buffers {} - activations {} - other {} = {} GiB\n",
        gib(c.total_bytes), shortest(c.utilisation), gib(c.weight_bytes), gib(c.buffer_bytes),
        gib(c.activation_bytes), gib(c.nontorch_bytes + c.cuda_graph_bytes), gib(c.kv_bytes));
  }

  if (result.movement) out += movement_text(*result.movement, result.block_tokens);

  double total = 0;
  for (const double part : m.terms.part) total += part;
  out += fmt::format(
      "\n  Steps      {} ({} with prefill), mean {:.2f} ms, GPU busy {:.0f} %, {:.1f} requests a step\n",
      human_count(m.steps), human_count(m.mixed_steps),
      m.steps > 0 ? static_cast<double>(m.busy_ps) * 1e-9 / static_cast<double>(m.steps) : 0.0,
      duration > 0
          ? share(static_cast<double>(m.busy_ps) * 1e-12 / static_cast<double>(config.replicas), duration)
          : 0.0,
      m.step_time > 0 ? m.running_time / m.step_time : 0.0);
  out += "             time in";
  for (std::size_t i = 0; i < kStepParts; ++i)
    if (m.terms.part[i] > 0.0005 * total)
      out += fmt::format("  {} {:.1f} %", name_of(static_cast<StepPart>(i)), share(m.terms.part[i], total));
  out += "\n";
  if (!result.origins.empty()) {
    out += fmt::format("{}  Times from ", style.dim);
    for (std::size_t i = 0; i < result.origins.size(); ++i)
      out += fmt::format("{}{}: {} ({})", i > 0 ? ", " : "", result.origins[i].op, result.origins[i].source,
                         result.origins[i].status);
    out += fmt::format("{}\n", style.off);
  }
  for (const std::string& note : result.trace.notes)
    out += fmt::format("{}  note: {}{}\n", style.dim, note, style.off);
  for (const std::string& warning : result.warnings)
    out += fmt::format("{}  warning: {}{}\n", style.warn, warning, style.off);
  out += fmt::format("{}  simulated in {}, {} requests/s, {}{}\n", style.dim, human_seconds(machine.wall_s),
                     human_count(static_cast<std::int64_t>(
                         machine.wall_s > 0 ? static_cast<double>(m.completed) / machine.wall_s : 0)),
                     human_bytes(static_cast<double>(machine.peak_memory_bytes)), style.off);
  return out;
}

}  // namespace tessera
