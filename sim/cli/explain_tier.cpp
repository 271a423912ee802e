// explain tier: is stored KV of a prefix worth loading, over which device, at which size.
// explain swap: a preempted request's KV out and in again, or computed again, by block size.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "models/base/units.hpp"
#include "models/transformer/reuse.hpp"
#include "sim/cli/commands.hpp"
#include "sim/serving/simulate.hpp"

namespace tessera {
namespace {

struct Bench {
  RunConfig config;
  RankModel rank;
  std::unique_ptr<StepCost> cost;
  std::unique_ptr<KvMover> mover;
  std::vector<std::string> warnings;
};

Bench bench_of(const ExplainOptions& options, const Model& model, std::int64_t block_tokens) {
  if (options.gpu.empty())
    throw InputError("explain " + options.what + ": --gpu is missing, expected a GPU name");
  Bench bench;
  RunConfig& config = bench.config;
  config.gpu = {options.gpu, load_gpu(options.gpu)};
  config.model = {options.model, model};
  config.engine.profile = {options.engine, load_engine_profile(options.engine)};
  config.parallel.tp = options.tp;
  config.memory.kv_dtype = options.kv_dtype;
  config.memory.block_tokens = block_tokens;
  config.memory.movement.preemption = "swap";
  if (options.copy_unit != "block" && options.copy_unit != "layer")
    throw InputError("--copy-unit: '" + options.copy_unit + "' is not known, expected block or layer");
  config.memory.movement.copy_unit = options.copy_unit;
  bench.rank = partition(model, config.parallel, resolve_kv_precision(model, options.kv_dtype));
  if (bench.rank.kv.block_bytes(block_tokens) == 0)
    throw InputError(
        fmt::format("explain {}: {} stores no keys and values to move", options.what, model.name));
  bench.cost = make_step_cost(config, bench.rank, bench.warnings);
  const std::int64_t budget =
      config.engine.max_num_batched_tokens.value_or(config.engine.profile->default_max_num_batched_tokens);
  bench.mover = std::make_unique<KvMover>(
      *movement_spec(config.memory.movement, *config.gpu, bench.rank, block_tokens, budget, 1), *bench.cost);
  return bench;
}

std::int64_t context_of(const ExplainOptions& options) {
  const std::int64_t tokens = parse_tokens(options.context, "--context");
  if (tokens < 1) throw InputError("--context: no tokens, expected at least 1");
  return tokens;
}

double ms(std::int64_t ps) { return static_cast<double>(ps) * 1e-9; }

}  // namespace

int explain_tier(const ExplainOptions& options, const Model& model) {
  const std::int64_t prefix = context_of(options);
  ExplainOptions whole_blocks = options;
  whole_blocks.copy_unit = "block";
  Bench bench = bench_of(whole_blocks, model, 16);
  const Gpu& gpu = *bench.config.gpu;
  const KvPrecision kv_dtype = resolve_kv_precision(model, options.kv_dtype);
  PrefixWork work = prefix_work(make_step_work(model, kv_dtype), make_kv_layout(model, kv_dtype), 0, prefix);
  // What a run would move: whole blocks, of every rank. Ranks may hold copies of the same KV.
  const KvMoverSpec& moves = bench.mover->spec();
  work.bytes = static_cast<double>(ceil_div(prefix, moves.block_tokens) * moves.block.bytes);
  const double tflops = options.tflops > 0 ? options.tflops : gpu.datasheet_bf16_tflops.value;
  const double flops = tflops * 1e12 * static_cast<double>(options.tp);

  const bool grouped = model.attention.kind == "gqa";  // what the paper's formula speaks of
  MooncakeTerms terms;
  terms.hidden = static_cast<double>(model.hidden);
  terms.prefix = static_cast<double>(prefix);
  terms.element_bytes = static_cast<double>(kv_dtype.k.bits) / 8;
  double paper_gb_s = 0;
  if (grouped) {
    terms.gqa = static_cast<double>(model.attention.heads) / static_cast<double>(model.attention.kv_heads);
    paper_gb_s = mooncake_threshold(terms, flops) * 1e-9;
  }
  const double counted_gb_s = work.threshold(flops) * 1e-9;
  const double compute_ms = ms(bench.mover->prefill_ps(0, prefix));
  const double priced_gb_s = work.bytes / compute_ms * 1e-6;

  struct Candidate {
    TierDevice device;
    std::int64_t lanes = 1;
  };
  std::vector<Candidate> devices;
  if (options.links.empty()) {
    devices.push_back({host_link_of(bench.config.memory.movement, gpu), options.tp});
    devices.back().device.name = options.tp > 1 ? fmt::format("host links of {} GPUs", options.tp)
                                                : std::string("host link of the GPU");
    for (const std::string& name : config_names("tiers"))
      devices.push_back({read_config<TierDevice>("tiers", name), 1});
  }
  for (const std::string& name : options.links)
    devices.push_back({read_config<TierDevice>("tiers", name), 1});

  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::string table = fmt::format("  {:<22}{:>10}{:>12}{:>12}{:>14}  {}\n", "device", "GB/s", "load",
                                  "compute", "both at once", "faster");
  const auto block_bytes = static_cast<double>(bench.mover->spec().block.bytes);
  for (const auto& [device, lanes] : devices) {
    const auto n = static_cast<double>(lanes);
    const double gb_s = n * device.read_rate(block_bytes / n);
    const double load_ms = work.bytes / gb_s * 1e-6 + device.latency_us * 1e-3;
    const double both_ms = 1 / (1 / load_ms + 1 / compute_ms);
    const char* faster = load_ms < compute_ms ? "load" : "compute";
    table += fmt::format("  {:<22}{:>10.2f}{:>9.1f} ms{:>9.1f} ms{:>11.1f} ms  {}\n", device.name, gb_s,
                         load_ms, compute_ms, both_ms, faster);
    rows.push_back({{"device", device.name},
                    {"gb_s", gb_s},
                    {"load_ms", load_ms},
                    {"compute_ms", compute_ms},
                    {"both_ends_ms", both_ms},
                    {"faster", faster}});
  }
  if (options.json) {
    const nlohmann::ordered_json out{
        {"model", model.name},
        {"gpu", gpu.name},
        {"tp", options.tp},
        {"prefix", prefix},
        {"kv_bytes", work.bytes},
        {"linear_flops", work.linear_flops},
        {"attention_flops", work.attention_flops},
        {"peak_tflops", tflops * static_cast<double>(options.tp)},
        {"threshold_gb_s",
         {{"mooncake_eq2", paper_gb_s}, {"counted_at_peak", counted_gb_s}, {"priced", priced_gb_s}}},
        {"prefill_ms", compute_ms},
        {"devices", rows}};
    fmt::print("{}\n", out.dump(2));
    return kOk;
  }
  fmt::print("Load or recompute a prefix of {} tokens: {} on {} x {}\n\n", human_count(prefix), model.name,
             options.tp, gpu.name);
  fmt::print("  KV to load          {} ({} a token)\n", human_bytes(work.bytes),
             human_bytes(work.bytes / static_cast<double>(prefix)));
  fmt::print("  FLOPs saved         {:.4g} linear + {:.4g} attention = {:.4g}\n", work.linear_flops,
             work.attention_flops, work.flops());
  fmt::print("  Prefill, priced     {:.1f} ms ({:.0f} % of {:.0f} TFLOP/s)\n\n", compute_ms,
             100 * work.flops() / (compute_ms * 1e-3) / flops, flops * 1e-12);
  fmt::print("  Loading wins above\n");
  if (grouped)
    fmt::print(
        "    {:8.2f} GB/s    G 2 d s / (gqa (a p d + b d^2)), Mooncake's equation 2 (FAST 2025, section 3)\n"
        "                     d {:.0f}, s {}, gqa {:.0f}, p {}, a 4, b 22, G {:.4g} FLOP/s\n",
        paper_gb_s, terms.hidden, shortest(terms.element_bytes), terms.gqa, prefix, flops);
  fmt::print("    {:8.2f} GB/s    G x bytes / FLOPs, counted from the model's operators\n", counted_gb_s);
  fmt::print("    {:8.2f} GB/s    bytes / priced prefill time\n\n{}", priced_gb_s, table);
  fmt::print(
      "\n  GB/s at pieces of one 16-token block ({}): min(rate, piece / copy_us); load = bytes / GB/s +\n"
      "  latency, nothing else on the device; both at once: front computed, back loaded,\n"
      "  1 / (1 / load + 1 / compute).\n",
      human_bytes(block_bytes));
  return kOk;
}

int explain_swap(const ExplainOptions& options, const Model& model) {
  const std::int64_t tokens = context_of(options);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  std::string table = fmt::format("  {:>6}{:>12}{:>10}{:>10}{:>14}{:>14}  {}\n", "block", "one copy",
                                  "copies", "GB/s", "swap out+in", "recompute", "faster");
  for (const std::int64_t block : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    Bench bench = bench_of(options, model, block);
    const KvMover& mover = *bench.mover;
    const std::int64_t blocks = ceil_div(tokens, block);
    const double swap_ms = ms(mover.swap_ps(blocks, 0));
    const double recompute_ms = ms(bench.mover->prefill_ps(0, tokens));
    const auto piece = static_cast<double>(mover.stack().piece_bytes());
    const double gb_s = host_link_of(bench.config.memory.movement, *bench.config.gpu)
                            .read_rate(piece / static_cast<double>(options.tp)) *
                        static_cast<double>(options.tp);
    const char* faster = swap_ms < recompute_ms ? "swap" : "recompute";
    table +=
        fmt::format("  {:>6}{:>12}{:>10}{:>10.2f}{:>11.2f} ms{:>11.2f} ms  {}\n", block, human_bytes(piece),
                    human_count(blocks * mover.spec().block.pieces), gb_s, swap_ms, recompute_ms, faster);
    rows.push_back({{"block_tokens", block},
                    {"copy_bytes", piece},
                    {"copies_one_way", blocks * mover.spec().block.pieces},
                    {"gb_s", gb_s},
                    {"swap_ms", swap_ms},
                    {"recompute_ms", recompute_ms},
                    {"faster", faster}});
  }
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"model", model.name},
                                              {"gpu", options.gpu},
                                              {"tp", options.tp},
                                              {"tokens", tokens},
                                              {"copy_unit", options.copy_unit},
                                              {"rows", rows}}
                           .dump(2));
    return kOk;
  }
  fmt::print(
      "A preempted request of {} tokens: {} on {} x {}, copied {}\n\n{}\n"
      "  swap = out + in, each latency + copies x max(copy_us, bytes of one copy / rate); recompute = "
      "prefill of\n  all tokens in steps of the engine's budget ({}).\n",
      human_count(tokens), model.name, options.tp, options.gpu,
      options.copy_unit == "layer" ? "K and V of each layer apart" : "a block of all layers at once", table,
      options.engine);
  return kOk;
}

}  // namespace tessera
