// The attention tables of vLLM: FlashAttention 2 and 3 in bf16, FlashAttention 3 with an fp8 cache. KV write
// and attention (with copies and combine) in one CUDA graph, replayed over the same buffers, 64-token pages.
// One-token prompts in the prefill table run the decode kernel. FlashAttention 4 (head dim 512), FlashInfer
// and Triton are not modelled: those rows are counted but not used.
#include "validation/attention_validate.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/cost/attention.hpp"
#include "sim/gpu/attention_sim.hpp"
#include "validation/fit_knobs.hpp"

namespace tessera {
namespace {

constexpr std::size_t kFitRows = 3000;        // of each phase; more do not move the parameters
constexpr std::size_t kTileFitDecodes = 600;  // likewise, simulated
constexpr std::size_t kTileFitPrefills = 400;
constexpr std::int64_t kTileFitCtas = 9000;  // of the largest of them
constexpr int kTablePages = 64;
constexpr std::int64_t kMost = 1 << 24;
constexpr std::size_t kMostChunks = 1 << 16;

bool is_fp8(const Row& row) { return row.text("kv_cache_dtype") == "fp8"; }
bool is_fa3(const Row& row) { return row.text("kernel_source") == "vllm_flash_attn_fa3"; }
bool is_known_type(const Row& row) {
  const std::string_view dtype = row.text("kv_cache_dtype");
  return dtype == "bfloat16" || dtype == "float16" || dtype == "fp8";
}

bool covers(const Row& row) {
  const std::string_view kernel = row.text("kernel_source");
  const bool fa3 = is_fa3(row);
  const bool fa2 = kernel == "vllm_flash_attn" || kernel == "vllm_flash_attn_fa2" || kernel == "tessera_fa2";
  // Our own tables hold rows past the L2 too (copies other than 1); the public ones replay one set of
  // buffers.
  return is_known_type(row) && (fa3 || (fa2 && !is_fp8(row))) && row.integer("head_dim") <= 256 &&
         row.integer_or("copies", 1) == 1;
}

// The card runs this generation of FlashAttention, so its parameters are this row's.
bool same_generation(const Gpu& gpu, const Row& row) {
  return is_fa3(row) == (gpu.kernels->attention.kernel == "fa3");
}

// One row of either table as the model sees it.
struct Case {
  AttentionShape shape;
  std::int64_t batch = 0;
  std::int64_t prompt = 0;  // 0: decode
  std::int64_t context = 0;

  [[nodiscard]] double predict_us(const Gpu& gpu) const { return predict(gpu).total; }
  [[nodiscard]] OpTime predict(const Gpu& gpu) const {
    if (prompt == 0)
      return decode_attention_time(gpu, shape, {.sequences = batch, .kv_tokens = batch * context});
    const std::vector<PrefillChunk> chunks(static_cast<std::size_t>(batch), PrefillChunk{prompt, 0});
    return prefill_attention_time(gpu, shape, chunks);
  }
  [[nodiscard]] OpTime simulate(const Gpu& gpu) const {
    AttentionProblem p;
    p.q_heads = shape.q_heads, p.kv_heads = shape.kv_heads;
    p.head_dim = p.v_head_dim = shape.head_dim;
    p.window = shape.window;
    p.kv_element_bytes = bytes_of(shape.kv_dtype);
    p.page_tokens = kTablePages;
    p.sequences.assign(static_cast<std::size_t>(batch),
                       prompt == 0 ? AttentionSequence{1, context} : AttentionSequence{prompt, prompt});
    return simulate_attention(gpu, p).time;
  }
  void add_to(KernelTable& table, double us) const {
    if (prompt == 0)
      table.add_decode(shape, batch, context, us);
    else
      table.add_prefill(shape, batch, prompt, us);
  }
  [[nodiscard]] std::optional<OpTime> look_up(const KernelTable& table, const Gpu& gpu) const {
    if (prompt == 0) return table.decode(gpu, shape, {.sequences = batch, .kv_tokens = batch * context});
    const std::vector<PrefillChunk> chunks(static_cast<std::size_t>(batch), PrefillChunk{prompt, 0});
    return table.prefill(gpu, shape, chunks);
  }
  // About how many CTAs the simulation would walk.
  [[nodiscard]] std::int64_t ctas() const {
    return batch * shape.q_heads * std::max<std::int64_t>(1, prompt / 64);
  }
};

Case case_of(const Row& row) {
  Case c;
  const auto small = [&](const char* column) { return static_cast<int>(row.count(column, 1, kMost)); };
  c.shape.q_heads = small("num_heads");
  c.shape.kv_heads = small("num_key_value_heads");
  c.shape.head_dim = c.shape.v_head_dim = small("head_dim");
  c.shape.window = row.count("window_size_tokens", 0, kMost);
  c.shape.kv_dtype = is_fp8(row) ? DType::fp8 : DType::bf16;
  c.shape.block_tokens = kTablePages;
  c.shape.replayed = true;
  if (c.shape.q_heads % c.shape.kv_heads != 0)
    throw InputError(row.at("num_key_value_heads"), "num_key_value_heads: does not divide num_heads");
  c.batch = row.count("batch_size", 1, kMost);
  if (static_cast<std::size_t>(c.batch) > kMostChunks)
    throw InputError(row.at("batch_size"), fmt::format("batch_size: expected at most {}", kMostChunks));
  const std::int64_t prompt = row.count("isl_tokens", 1, kMost);
  if (prompt > 1)
    c.prompt = prompt;
  else
    c.context = row.count("past_kv_tokens", 0, kMost) + 1;
  return c;
}

OpTime predict(const Gpu& gpu, const Row& row) { return case_of(row).predict(gpu); }

std::string shape_key(const Row& row) {
  return fmt::format("attention {} {} {} {} {} {} {}", row.key("batch_size"), row.key("isl_tokens"),
                     row.key("past_kv_tokens"), row.key("num_heads"), row.key("num_key_value_heads"),
                     row.key("head_dim"), row.key("window_size_tokens"));
}

std::string regime(const Row& row) {
  const double us = row.latency_us();
  return fmt::format("d{} {} {}", row.text("head_dim"),
                     row.integer("window_size_tokens") > 0 ? "window" : "full",
                     us < 30     ? "<30 us"
                     : us < 100  ? "30-100 us"
                     : us < 1000 ? "0.1-1 ms"
                                 : ">1 ms");
}

// The parameters and their plausible ranges. Some cannot be told apart on every card: heat needs long runs
// of a power-limited card, prefill_launch and mask are FlashAttention 3's.
std::vector<Knob> knobs_of(const Gpu& gpu, AttentionRates& r, bool fa3, bool fp8, bool tile, bool decode,
                           bool prefill) {
  std::vector<Knob> knobs;
  // mma_factor counts in the rated clock. Simulated tensor cores are not faster than at the maximum clock;
  // the closed forms' factor also stands for what they leave out, loads under the products and idle last
  // waves.
  const double rated_mhz =
      gpu.datasheet_bf16_tflops * 1e6 / (gpu.bf16_flops_per_clk_sm * static_cast<double>(gpu.sms.value));
  const double least_mma = tile ? std::min(1.0, rated_mhz / gpu.max_clock_mhz) : fp8 ? 0.9 : 0.6;
  const auto add = [&](bool wanted, const char* name, double& value, double low, double high) {
    if (wanted) knobs.push_back({name, &value, low, high, Scale::log});
  };
  add(decode, "launch_us", r.launch_us, 1, 10);
  add(decode, "combine_us", r.combine_us, 0.5, 8);
  add(decode && !fa3, "combine_per_split_us", r.combine_per_split_us, 0.01, 0.6);
  add(decode, "cta_us", r.cta_us, 0.3, 5);
  // The memories and the way to them are the card's, whatever the data type.
  add(decode && !fp8, "cta_gb_s", r.cta_gb_s, 20, 600);
  // No kernel reads faster than the best stream seen on the card.
  add(decode && !fp8, "hbm_fraction", r.hbm_fraction, 0.6, gpu.hbm_achieved_fraction);
  add(decode && !fp8, "l2_gb_s", r.l2_gb_s, 1000, 15000);
  add(decode && !fp8, "l2_share", r.l2_share, 0.3, 1.6);
  add(true, "mma_factor", r.mma_factor, least_mma, 2);
  add(true, "exp_factor", r.exp_factor, 0.1, 5);
  add(true, "kv_write_us", r.kv_write_us, 0.3, 8);
  add(prefill && fa3, "prefill_launch_us", r.prefill_launch_us, 0.1, 6);
  add(fa3, "mask_us", r.mask_us, 0.1, 3);
  if (prefill && !fa3) knobs.push_back({"heat", &r.heat, 0, 0.5, Scale::linear});
  add(fp8, "transpose_us", r.transpose_us, 0.1, 4);
  add(fp8, "transpose_d192_us", r.transpose_d192_us, 0.1, 6);
  add(fp8, "transpose_d256_us", r.transpose_d256_us, 0.1, 8);
  return knobs;
}

std::vector<Row> spread(std::span<const Row> rows, bool fp8, bool decode, bool tile) {
  std::vector<Row> wanted;
  for (const Row& row : rows)
    if (is_fp8(row) == fp8 && (row.integer("isl_tokens") == 1) == decode &&
        (!tile || case_of(row).ctas() <= kTileFitCtas))
      wanted.push_back(row);
  std::vector<Row> picked;
  const std::size_t stride = std::max<std::size_t>(1, wanted.size() / (!tile    ? kFitRows
                                                                       : decode ? kTileFitDecodes
                                                                                : kTileFitPrefills));
  for (std::size_t i = 0; i < wanted.size(); i += stride) picked.push_back(wanted[i]);
  return picked;
}

KernelFit fit_rates(const Gpu& gpu, AttentionRates& rates, std::span<const Row> rows, bool fp8, bool tile,
                    const FitControl& control) {
  const std::vector<Row> decode = spread(rows, fp8, true, tile), prefill = spread(rows, fp8, false, tile);
  std::vector<Case> cases;
  std::vector<double> measured;
  for (const std::vector<Row>* phase : {&decode, &prefill})
    for (const Row& row : *phase) cases.push_back(case_of(row)), measured.push_back(row.latency_us());
  if (cases.empty()) return {};
  const bool fa3 = gpu.kernels->attention.kernel == "fa3";
  // A prefill table has its one-token prompts; they are too few to fit decode on.
  const bool fit_decode = decode.size() * 4 > prefill.size();
  const auto predict = [&](std::size_t i) {
    return tile ? cases[i].simulate(gpu).total : cases[i].predict_us(gpu);
  };
  return fit_knobs(knobs_of(gpu, rates, fa3, fp8, tile, fit_decode, !prefill.empty()), measured, predict,
                   {.iterations = tile ? 8 : 40, .coordinate_polish = !tile}, control);
}

KernelFit calibrate_simulated(Gpu& gpu, std::span<const Row> rows, const FitControl& control);

KernelValidator attention_validator(const char* name, bool (*recognises)(const MeasurementTable&),
                                    Cost cost) {
  const bool tile = cost == Cost::tile;
  return {
      .name = name,
      .recognises = recognises,
      .columns = {"kernel_source", "batch_size", "isl_tokens", "num_heads", "num_key_value_heads", "head_dim",
                  "kv_cache_dtype", "past_kv_tokens", "window_size_tokens"},
      .covers = covers,
      .fitted = covers,
      .same_kernel = same_generation,
      .predict = tile ? +[](const Gpu& gpu, const Row& row) { return case_of(row).simulate(gpu); } : predict,
      .shape_key = shape_key,
      .dtype = [](const Row& row) { return std::string(row.text("kv_cache_dtype")); },
      .regime = regime,
      .calibrate = tile ? calibrate_simulated : calibrate_attention,
      .section = tile ? "tile.attention" : "attention",
      .source = tile ? +[](KernelBehaviour& b) -> std::string& { return b.tile.attention.source; }
                     : +[](KernelBehaviour& b) -> std::string& { return b.attention.source; },
      .add_to_table = [](KernelTable& table,
                         const Row& row) { case_of(row).add_to(table, row.latency_us()); },
      .look_up = [](const KernelTable& table, const Gpu& gpu,
                    const Row& row) { return case_of(row).look_up(table, gpu); }};
}

bool has_attention_columns(const MeasurementTable& t) {
  return t.find_column("head_dim") >= 0 && t.find_column("isl_tokens") >= 0 && t.size() > 0;
}

// Decode tables have one new token everywhere, prefill tables prompts too.
bool is_generation(const MeasurementTable& t) {
  return has_attention_columns(t) && t.row(t.size() - 1).integer("isl_tokens") == 1;
}
bool is_context(const MeasurementTable& t) { return has_attention_columns(t) && !is_generation(t); }

KernelFit fit_both_types(Gpu& gpu, AttentionParams& p, std::span<const Row> rows, bool tile,
                         const FitControl& control) {
  KernelFit result;
  result.append(fit_rates(gpu, p.rates, rows, false, tile, control), "rates.");
  bool any_fp8 = false;
  for (const Row& row : rows) any_fp8 = any_fp8 || is_fp8(row);
  if (any_fp8) {
    if (!p.fp8) {
      p.fp8 = p.rates;
      p.fp8->transpose_us = 1.1, p.fp8->transpose_d192_us = 1.2, p.fp8->transpose_d256_us = 2;
    }
    // Of the card, so found on the rows of the other type.
    p.fp8->cta_gb_s = p.rates.cta_gb_s;
    p.fp8->hbm_fraction = p.rates.hbm_fraction;
    p.fp8->l2_gb_s = p.rates.l2_gb_s;
    p.fp8->l2_share = p.rates.l2_share;
    result.append(fit_rates(gpu, *p.fp8, rows, true, tile, control), "fp8.");
  }
  return result;
}

KernelFit calibrate_simulated(Gpu& gpu, std::span<const Row> rows, const FitControl& control) {
  return fit_both_types(gpu, gpu.kernels->tile.attention, rows, true, control);
}

}  // namespace

KernelFit calibrate_attention(Gpu& gpu, std::span<const Row> rows, const FitControl& control) {
  return fit_both_types(gpu, gpu.kernels->attention, rows, false, control);
}

KernelValidator context_attention_validator(Cost cost) {
  return attention_validator("context_attention", is_context, cost);
}
KernelValidator generation_attention_validator(Cost cost) {
  return attention_validator("generation_attention", is_generation, cost);
}

}  // namespace tessera
