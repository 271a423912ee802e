// `tessera kernel hbm`: what one channel of a described memory reaches under an access pattern.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "models/transformer/kv_layout.hpp"
#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"
#include "sim/memory/hbm/gather.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kProbes = 20'000;  // dependent reads behind the unloaded latency

struct HbmOptions {
  std::string memory = "hbm3-6.4";
  std::string pattern = "stream";
  std::string bytes = "64M";
  double write_fraction = 0;
  bool no_refresh = false;
  std::uint64_t seed = 1;
  // gather
  std::string model = "llama-3.1-8b";
  std::string kv_dtype = "auto";
  std::int64_t tp = 1;
  std::vector<std::int64_t> block_tokens{16};
  HbmGatherSpec gather;
  bool json = false;
};

const std::vector<std::string> kPatterns = {"stream", "sequential", "random", "gather"};

struct Measured {
  HbmRun run;
  HbmFigures figures;
  double requests_per_s = 0;  // of this program
};

template <class Pattern>
Measured measure(const HbmSpec& spec, const HbmOptions& options, const Pattern& pattern) {
  const std::int64_t bytes = parse_tokens(options.bytes, "--bytes");
  const std::int64_t requests = ceil_div(bytes, spec.organisation.burst_bytes);
  constexpr std::int64_t kMostBytes = std::int64_t{64} << 30;  // minutes
  if (requests < 1 || bytes > kMostBytes)
    throw InputError({"--bytes", 0, 0}, fmt::format("{}, expected 1 byte to 64 GiB", options.bytes));
  HbmChannel channel(spec, !options.no_refresh);
  const auto start = std::chrono::steady_clock::now();
  Measured m;
  m.run = run_saturated(channel, pattern, requests);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  m.figures = figures_of(spec, m.run);
  m.requests_per_s = static_cast<double>(requests) / took.count();
  return m;
}

template <class Pattern>
Measured measure_mixed(const HbmSpec& spec, const HbmOptions& options, const Pattern& pattern) {
  return measure(spec, options, HbmMixed<Pattern>(pattern, options.write_fraction));
}

Measured measure_pattern(const HbmSpec& spec, const HbmOptions& options) {
  const HbmShape shape(spec);
  if (options.pattern == "stream") return measure_mixed(spec, options, HbmStream(shape));
  if (options.pattern == "sequential") return measure_mixed(spec, options, HbmSequential(shape));
  return measure_mixed(spec, options, HbmRandom(shape, options.seed));
}

// What lies together of one token in a block: keys and values have tensors of their own, a latent has one.
std::int64_t piece_bytes_per_token(const HbmOptions& options) {
  const Model model = load_model(options.model);
  const KvLayout layout = make_kv_layout(model, resolve_kv_precision(model, options.kv_dtype), options.tp);
  std::int64_t entry = 0;
  for (const KvGroup& group : layout.groups) entry = std::max(entry, group.entry_bytes);
  if (entry == 0)
    throw InputError({"--model", 0, 0}, fmt::format("{} stores no keys and values to gather", model.name));
  return model.attention.kind == "mla" ? entry : entry / 2;
}

Json to_json(const Measured& m) {
  const HbmRun& run = m.run;
  const double requests = static_cast<double>(run.requests());
  return {{"gb_s", m.figures.gb_s},
          {"percent_of_peak", m.figures.percent_of_peak},
          {"mean_latency_ns", m.figures.mean_latency_ns},
          {"simulated_requests", run.requests()},
          {"reads", run.reads()},
          {"writes", run.writes()},
          {"row_hit_ratio", static_cast<double>(run.row_hits) / requests},
          {"row_hits", run.row_hits},
          {"activates", run.activates()},
          {"row_conflicts", run.row_conflicts()},
          {"refreshes", run.refreshes()},
          {"requests_per_s", m.requests_per_s}};
}

double unloaded_latency_ns(const HbmSpec& spec, const HbmOptions& options) {
  HbmChannel channel(spec, !options.no_refresh);
  return figures_of(spec, run_chain(channel, HbmRandom(HbmShape(spec), options.seed), kProbes))
      .mean_latency_ns;
}

int gather_command(const HbmSpec& spec, const HbmOptions& options, Json out) {
  if (options.write_fraction != 0)
    throw InputError({"--write-fraction", 0, 0}, "a gather only reads, expected 0");
  const std::int64_t piece = piece_bytes_per_token(options);
  const double burst = static_cast<double>(spec.organisation.burst_bytes);
  if (!options.json)
    fmt::print(
        "  {} channels, chunks of {} B, {} streams; {} of {} B a token and tensor\n\n{:>6} {:>10} {:>8} "
        "{:>7} {:>10} {:>14} {:>15} {:>9}\n",
        options.gather.channels, options.gather.chunk_bytes, options.gather.streams, options.model, piece,
        "tokens", "block B", "GB/s", "% peak", "row hits %", "activates/KiB", "conflicts/KiB", "ns");
  Json blocks = Json::array();
  for (const std::int64_t tokens : options.block_tokens) {
    HbmGatherSpec gather = options.gather;
    gather.block_bytes = piece * tokens;
    gather.seed = options.seed;
    const Measured m = measure(spec, options, HbmGather(spec, gather));
    const double kib = static_cast<double>(m.run.requests()) * burst / 1024;
    const double activates = static_cast<double>(m.run.activates()) / kib;
    const double conflicts = static_cast<double>(m.run.row_conflicts()) / kib;
    Json row{{"block_tokens", tokens}, {"block_bytes", gather.block_bytes}};
    row.update(to_json(m));
    row["activates_per_kib"] = activates;
    row["row_conflicts_per_kib"] = conflicts;
    if (blocks.empty()) out.update(row);
    blocks.push_back(row);
    if (!options.json)
      fmt::print("{:>6} {:>10} {:>8.2f} {:>7.1f} {:>10.1f} {:>14.2f} {:>15.2f} {:>9.1f}\n", tokens,
                 gather.block_bytes, m.figures.gb_s, m.figures.percent_of_peak,
                 100 * row["row_hit_ratio"].get<double>(), activates, conflicts, m.figures.mean_latency_ns);
  }
  out["blocks"] = blocks;
  if (options.json) fmt::print("{}\n", out.dump(2));
  return kOk;
}

int hbm_command(const HbmOptions& options) {
  if (std::find(kPatterns.begin(), kPatterns.end(), options.pattern) == kPatterns.end())
    throw InputError({"--pattern", 0, 0},
                     fmt::format("'{}' is not known, expected one of {}{}", options.pattern,
                                 join(kPatterns, ", "), did_you_mean(options.pattern, kPatterns)));
  const HbmSpec spec = load_hbm(options.memory);
  if (!(options.write_fraction >= 0 && options.write_fraction <= 1))
    throw InputError({"--write-fraction", 0, 0}, "expected a share from 0 to 1");
  const double unloaded = unloaded_latency_ns(spec, options);
  Json out{{"memory", spec.name},
           {"pattern", options.pattern},
           {"refresh", !options.no_refresh},
           {"peak_gb_s", spec.peak_gb_s()},
           {"unloaded_latency_ns", unloaded}};
  if (!options.json)
    fmt::print("{}\n  peak {:.1f} GB/s, unloaded latency {:.1f} ns{}\n", spec.title, spec.peak_gb_s(),
               unloaded, options.no_refresh ? ", no refresh" : "");
  if (options.pattern == "gather") return gather_command(spec, options, out);
  const Measured m = measure_pattern(spec, options);
  out.update(to_json(m));
  if (options.json) {
    fmt::print("{}\n", out.dump(2));
    return kOk;
  }
  fmt::print(
      "  {}: {:.2f} GB/s = {:.1f} % of peak, mean read latency {:.1f} ns\n"
      "  {} reads, {} writes: {} row hits, {} activates, {} row conflicts, {} refreshes\n"
      "  simulated {:.2f} million requests/s\n",
      options.pattern, m.figures.gb_s, m.figures.percent_of_peak, m.figures.mean_latency_ns,
      human_count(m.run.reads()), human_count(m.run.writes()), human_count(m.run.row_hits),
      human_count(m.run.activates()), human_count(m.run.row_conflicts()), human_count(m.run.refreshes()),
      m.requests_per_s * 1e-6);
  return kOk;
}

}  // namespace

void add_kernel_hbm(CLI::App& kernel, int& code) {
  const auto o = std::make_shared<HbmOptions>();
  kernel.add_option("--memory", o->memory, "a name under configs/memories, or a file");
  kernel.add_option("--pattern", o->pattern, "stream | sequential | random | gather");
  kernel.add_option("--bytes", o->bytes, "to move, e.g. 64M");
  kernel.add_option("--write-fraction", o->write_fraction, "part of the requests that write, in place")
      ->check(CLI::Range(0.0, 1.0));
  kernel.add_flag("--no-refresh", o->no_refresh, "never refresh");
  kernel.add_option("--seed", o->seed, "of random and gather");
  kernel.add_option("--model", o->model, "gather: whose KV blocks");
  kernel.add_option("--kv-dtype", o->kv_dtype, "gather: a number format, or auto");
  kernel.add_option("--tp", o->tp, "gather: tensor-parallel ranks")->check(CLI::Range(1, 1024));
  kernel.add_option("--block-tokens", o->block_tokens, "gather: tokens of a block, comma-separated")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  kernel.add_option("--channels", o->gather.channels, "gather: channels of the GPU")
      ->check(CLI::Range(1, 4096));
  kernel.add_option("--chunk-bytes", o->gather.chunk_bytes, "gather: bytes before the next channel's turn");
  kernel.add_option("--streams", o->gather.streams, "gather: blocks being read at once")
      ->check(CLI::Range(1, 1 << 20));
  kernel.add_flag("--json", o->json, "machine-readable");
  kernel.footer(
      "Examples:\n"
      "  tessera kernel hbm --memory hbm2-2.0 --pattern random --json\n"
      "  tessera kernel hbm --pattern gather --model llama-3.1-70b --tp 8 --block-tokens 1,4,16,64,256");
  kernel.callback([o, &code] { code = hbm_command(*o); });
}

}  // namespace tessera
