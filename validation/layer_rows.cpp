// The profiles time one layer of Llama-3.1-8B (hidden 4096, 32 query and 8 KV heads of 128, MLP 14336). Eager
// launches, kernel time; weights and KV far larger than
// L2 between two uses, so predictions are those of serving. A profile's decode context excludes the new
// token. Left out: the older Vidur-style attention rows (A6000, A100, H100), whose times would need several
// times the card's bandwidth if kv_cache_size is per sequence and a fifth of it if it is the batch's.
#include "validation/layer_rows.hpp"

#include <fmt/format.h>

#include <optional>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/gemm.hpp"

namespace tessera {
namespace {

constexpr const char* kGemmHeader = "kernel_source,layer,m,n,k,latency_ms\n";
constexpr const char* kAttentionHeader =
    "kernel_source,layer,sequences,prefill_chunk,kv_prefill,n_decode,kv_decode,q_heads,kv_heads,head_dim,"
    "latency_ms"
    "\n";

struct Weights {
  const char* layer;
  std::int64_t n, k;  // outputs, inputs
};
constexpr Weights kLlama8b[] = {
    {"qkv_proj", 6144, 4096},   {"o_proj", 4096, 4096},     {"gate_up_proj", 28672, 4096},
    {"down_proj", 4096, 14336}, {"q_proj", 4096, 4096},     {"k_proj", 1024, 4096},
    {"v_proj", 1024, 4096},     {"gate_proj", 14336, 4096}, {"up_proj", 14336, 4096},
};

const Weights* weights_of(std::string_view layer) {
  for (const Weights& w : kLlama8b)
    if (layer == w.layer) return &w;
  return nullptr;
}

bool has_all(const MeasurementTable& t, std::initializer_list<const char*> columns) {
  for (const char* column : columns)
    if (t.find_column(column) < 0) return false;
  return true;
}

constexpr std::int64_t kMost = 1 << 24;

// Times and sizes are checked here, where the cell's own place is known.
double time_of(const Row& row, const char* column) {
  const double time = row.number(column);
  if (!(time > 0))
    throw InputError(row.at(column), fmt::format("{}: {} is no time, expected more than 0", column, time));
  return time;
}

// Matrix products of a table with one row a layer and token count.
std::string dense_rows(const MeasurementTable& t, const char* layer, const char* tokens, const char* time,
                       double ms_per_unit) {
  std::string text = kGemmHeader;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const Row row = t.row(i);
    if (const Weights* w = weights_of(row.text(layer)))
      text += fmt::format("layer_profile,{},{},{},{},{:.9g}\n", w->layer, row.count(tokens, 1, kMost), w->n,
                          w->k, time_of(row, time) * ms_per_unit);
  }
  return text;
}

std::string mixed_rows(const MeasurementTable& t) {
  std::string text = kAttentionHeader;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const Row row = t.row(i);
    text += fmt::format("layer_profile,attention,1,{},{},{},{},32,8,128,{:.9g}\n",
                        row.count("prefill_chunk", 0, kMost), row.count("kv_prefill", 0, kMost),
                        row.count("n_decode", 0, kMost), row.count("kv_decode", 0, kMost),
                        time_of(row, "time_us") * 1e-3);
  }
  return text;
}

GemmShape gemm_of(const Row& row, int copies) {
  return {row.count("m", 1, kMost), row.count("n", 1, kMost), row.count("k", 1, kMost), DType::bf16, copies};
}

struct Batch {
  AttentionShape shape;
  DecodeBatch decodes;
  std::vector<PrefillChunk> chunks;
};

Batch batch_of(const Row& row) {
  const auto at_least = [&](const char* column, std::int64_t least) {
    return row.count(column, least, kMost);
  };
  Batch b;
  b.shape.q_heads = static_cast<int>(at_least("q_heads", 1));
  b.shape.kv_heads = static_cast<int>(at_least("kv_heads", 1));
  b.shape.head_dim = b.shape.v_head_dim = static_cast<int>(at_least("head_dim", 1));
  if (b.shape.q_heads % b.shape.kv_heads != 0)
    throw InputError(row.at("kv_heads"), "kv_heads: does not divide q_heads");
  const std::int64_t chunk = at_least("prefill_chunk", 0), n = at_least("n_decode", 0);
  const std::int64_t prompts = std::min<std::int64_t>(at_least("sequences", 0), 1 << 16);
  if (chunk > 0) b.chunks.assign(static_cast<std::size_t>(prompts), {chunk, at_least("kv_prefill", 0)});
  if (n > 0) b.decodes = {n, n * (at_least("kv_decode", 0) + 1), {}, 0};
  if (b.chunks.empty() && n == 0) throw InputError(row.at("n_decode"), "a batch of nothing");
  return b;
}

const char* kind_of(const Batch& b) {
  return b.chunks.empty()          ? "decode"
         : b.decodes.sequences > 0 ? "mixed"
         : b.chunks[0].history > 0 ? "chunk"
                                   : "prefill";
}

// Never fitted on: hold-outs for a card's closed forms, borrowed or of its kernel tables.
KernelFit refuse(Gpu&, std::span<const Row>, const FitControl&) {
  throw InputError("a layer profile tests a card, it does not describe it: expected kernel tables to fit");
}
bool always(const Row&) { return true; }
bool never(const Row&) { return false; }

}  // namespace

MeasurementTable load_measurements(const std::string& path) {
  MeasurementTable table = MeasurementTable::load(path, false);
  if (table.find_column("latency_ms") >= 0) return table;
  std::optional<std::string> text;
  if (has_all(table, {"layer", "tokens", "time_us"}))
    text = dense_rows(table, "layer", "tokens", "time_us", 1e-3);
  if (has_all(table, {"layer_name", "input_tokens", "latency_ns"}))
    text = dense_rows(table, "layer_name", "input_tokens", "latency_ns", 1e-6);
  if (has_all(table, {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"}))
    text = mixed_rows(table);
  if (!text) table.need_columns({"latency_ms"});
  return MeasurementTable::parse(std::move(*text), path);
}

KernelValidator layer_gemm_validator() {
  return {
      .name = "layer_gemm",
      .recognises =
          [](const MeasurementTable& t) {
            return has_all(t, {"layer", "m", "n", "k"});
          },
      .columns = {"kernel_source", "layer", "m", "n", "k"},
      .covers = always,
      .fitted = never,
      .predict = [](const Gpu& gpu, const Row& row) { return gemm_time(gpu, gemm_of(row, 0)); },
      .shape_key =
          [](const Row& r) { return fmt::format("gemm {} {} {}", r.key("m"), r.key("n"), r.key("k")); },
      .dtype = [](const Row&) { return std::string("bfloat16"); },
      .regime =
          [](const Row& r) {
            const std::int64_t m = r.integer("m");
            return fmt::format("{} {}", r.text("layer"), m <= 16 ? "m<=16" : m <= 256 ? "m<=256" : "m>256");
          },
      .calibrate = refuse,
      .section = "gemm",
      .source = [](KernelBehaviour& b) -> std::string& { return b.gemm.source; },
      .add_to_table =
          [](KernelTable& table, const Row& row) {
            const GemmShape s = gemm_of(row, 0);
            table.add_gemm(s.dtype, s.m, s.n, s.k, row.latency_us());
          },
      // Asked for as it was put in, so that what replaying does cancels.
      .look_up = [](const KernelTable& table, const Gpu& gpu,
                    const Row& row) { return table.gemm(gpu, gemm_of(row, KernelTable::kWeightCopies)); }};
}

KernelValidator layer_attention_validator() {
  return {
      .name = "layer_attention",
      .recognises =
          [](const MeasurementTable& t) {
            return has_all(t, {"layer", "n_decode", "prefill_chunk"});
          },
      .columns = {"kernel_source", "layer", "sequences", "prefill_chunk", "kv_prefill", "n_decode",
                  "kv_decode", "q_heads", "kv_heads", "head_dim"},
      .covers = always,
      .fitted = never,
      .predict =
          [](const Gpu& gpu, const Row& row) {
            const Batch b = batch_of(row);
            return mixed_attention_time(gpu, b.shape, b.decodes, b.chunks);
          },
      .shape_key =
          [](const Row& r) {
            return fmt::format("layer attention {} {} {} {} {}", r.key("sequences"), r.key("prefill_chunk"),
                               r.key("kv_prefill"), r.key("n_decode"), r.key("kv_decode"));
          },
      .dtype = [](const Row&) { return std::string("bfloat16"); },
      .regime = [](const Row& r) { return std::string(kind_of(batch_of(r))); },
      .calibrate = refuse,
      .section = "attention",
      .source = [](KernelBehaviour& b) -> std::string& { return b.attention.source; },
      .add_to_table =
          [](KernelTable& table, const Row& row) {
            const Batch b = batch_of(row);
            const std::string kind = kind_of(b);
            if (kind == "decode")
              table.add_decode(b.shape, b.decodes.sequences, row.integer("kv_decode") + 1, row.latency_us());
            if (kind == "prefill")
              table.add_prefill(b.shape, static_cast<std::int64_t>(b.chunks.size()), b.chunks[0].tokens,
                                row.latency_us());
          },
      .look_up = [](const KernelTable& table, const Gpu& gpu, const Row& row) -> std::optional<OpTime> {
        Batch b = batch_of(row);
        b.shape.replayed = true;
        b.shape.block_tokens = KernelTable::kBlockTokens;
        const std::string kind = kind_of(b);
        if (kind == "decode") return table.decode(gpu, b.shape, b.decodes);
        if (kind == "prefill") return table.prefill(gpu, b.shape, b.chunks);
        return std::nullopt;
      }};
}

}  // namespace tessera
