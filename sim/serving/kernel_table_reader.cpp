#include "sim/serving/kernel_table_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "traces/csv.hpp"

namespace tessera {
namespace {

constexpr std::uint64_t kMost = 1'000'000'000;       // of any dimension: above every kernel, below overflow
constexpr std::uint64_t kMostSequences = 1'000'000;  // of a batch
constexpr std::uint64_t kMostExperts = 1'000'000;
constexpr std::uint64_t kMostElements = 1'000'000'000'000;  // of a message
constexpr std::uint64_t kMostRanks = 1024;
constexpr double kLongestMs = 1e6;  // of one launch
constexpr int kLargestHead = 256;   // that the attention forms are made for

enum GemmColumn : std::size_t { kGemmDtype, kM, kN, kK, kGemmLatency, kGemmFlag };
enum AttentionColumn : std::size_t {
  kBatch,
  kNewTokens,
  kHeads,
  kKvHeads,
  kHeadDim,
  kKvDtype,
  kPast,
  kAttentionLatency,
  kWindow,
  kAttentionFlag
};

enum MoeColumn : std::size_t {
  kMoeDtype,
  kTokens,
  kHidden,
  kWidth,
  kTopK,
  kExperts,
  kMoeTp,
  kMoeEp,
  kDistribution,
  kMoeLatency,
  kMoeSource,
  kMoeFlag
};
enum NcclColumn : std::size_t { kOperation, kNcclDtype, kNcclGpus, kNcclElements, kNcclLatency, kNcclFlag };
enum AllReduceColumn : std::size_t {
  kReduceDtype,
  kReduceGpus,
  kReduceElements,
  kReduceLatency,
  kBackend,
  kReduceSource,
  kReduceFlag
};

const std::vector<std::string>& gemm_columns() {
  static const std::vector<std::string> names{"gemm_dtype", "m", "n", "k", "latency_ms"};
  return names;
}
const std::vector<std::string>& attention_columns() {
  static const std::vector<std::string> names{"batch_size",          "isl_tokens", "num_heads",
                                              "num_key_value_heads", "head_dim",   "kv_cache_dtype",
                                              "past_kv_tokens",      "latency_ms"};
  return names;
}

const std::vector<std::string>& moe_columns() {
  static const std::vector<std::string> names{"moe_dtype",    "num_tokens",  "hidden_size", "inter_size",
                                              "topk",         "num_experts", "moe_tp_size", "moe_ep_size",
                                              "distribution", "latency_ms"};
  return names;
}
const std::vector<std::string>& nccl_columns() {
  static const std::vector<std::string> names{"op_name", "nccl_dtype", "num_gpus", "message_elements",
                                              "latency_ms"};
  return names;
}
const std::vector<std::string>& all_reduce_columns() {
  static const std::vector<std::string> names{"allreduce_dtype", "num_gpus", "message_elements",
                                              "latency_ms"};
  return names;
}

std::vector<std::string> header_of(const std::string& file) {
  LineReader lines({file, {}});
  std::string_view line;
  while (lines.next(line))
    if (!line.empty() && line.front() != '#') return header_columns(line);
  return {};
}

std::int64_t positive(const CsvTable& csv, std::size_t column, std::uint64_t most = kMost) {
  const auto value = static_cast<std::int64_t>(csv.integer(column, most));
  if (value == 0) throw csv.error(column, "0 is not valid, expected at least 1");
  return value;
}

int ranks(const CsvTable& csv, std::size_t column) {
  const auto count = static_cast<int>(csv.integer(column, kMostRanks));
  if (count < 2) throw csv.error(column, fmt::format("{} is not valid, expected at least 2 GPUs", count));
  return count;
}

double latency_us(const CsvTable& csv, std::size_t column) {
  const double ms = csv.decimal(column);
  if (ms == 0 || ms > kLongestMs)
    throw csv.error(column,
                    fmt::format("{} is not valid, expected the time of one launch in milliseconds", ms));
  return ms * 1e3;
}

bool flagged(const CsvTable& csv, std::size_t column) {
  return csv.has(column) && !csv.field(column).empty();
}

// The tables' names of the formats the operators know; block-scaled and weight-only ones are others.
std::optional<DType> dtype_named(std::string_view name) {
  if (name == "bfloat16" || name == "bf16") return DType::bf16;
  if (name == "float16" || name == "fp16") return DType::fp16;
  if (name == "fp8") return DType::fp8;
  return std::nullopt;
}

void read_gemms(const std::string& file, KernelTable& table) {
  CsvTable csv({file, {}}, gemm_columns(), {"flag"});
  while (csv.next()) {
    const std::optional<DType> dtype = dtype_named(csv.field(kGemmDtype));
    if (flagged(csv, kGemmFlag) || !dtype) continue;
    table.add_gemm(*dtype, positive(csv, kM), positive(csv, kN), positive(csv, kK),
                   latency_us(csv, kGemmLatency));
  }
}

void read_attention(const std::string& file, KernelTable& table) {
  CsvTable csv({file, {}}, attention_columns(), {"window_size_tokens", "flag"});
  while (csv.next()) {
    const std::optional<DType> dtype = dtype_named(csv.field(kKvDtype));
    const std::int64_t head_dim = positive(csv, kHeadDim);
    if (flagged(csv, kAttentionFlag) || !dtype || head_dim > kLargestHead) continue;
    AttentionShape shape;
    shape.q_heads = static_cast<int>(positive(csv, kHeads));
    shape.kv_heads = static_cast<int>(positive(csv, kKvHeads));
    shape.head_dim = shape.v_head_dim = static_cast<int>(head_dim);
    shape.window = csv.has(kWindow) ? static_cast<std::int64_t>(csv.integer(kWindow, kMost)) : 0;
    shape.kv_dtype = *dtype;
    if (shape.q_heads % shape.kv_heads != 0)
      throw csv.error(kKvHeads,
                      fmt::format("{} does not divide the {} query heads", shape.kv_heads, shape.q_heads));
    const std::int64_t batch = positive(csv, kBatch, kMostSequences), tokens = positive(csv, kNewTokens);
    const auto past = static_cast<std::int64_t>(csv.integer(kPast, kMost));
    const double us = latency_us(csv, kAttentionLatency);
    if (past == 0)
      table.add_prefill(shape, batch, tokens, us);
    else if (tokens == 1)
      table.add_decode(shape, batch, past + 1, us);
    else
      throw csv.error(kPast,
                      fmt::format("{} tokens of history under a prompt of {}, expected prompts without "
                                  "history or decodes of one token",
                                  past, tokens));
  }
}

// "balanced" or "power_law_ALPHA".
double power_law_of(const CsvTable& csv) {
  constexpr std::string_view kPrefix = "power_law_";
  const std::string_view name = csv.field(kDistribution);
  if (name == "balanced") return 0;
  double alpha = 0;
  if (name.substr(0, kPrefix.size()) == kPrefix) {
    const auto parsed = parse_decimal(name.substr(kPrefix.size()));
    if (parsed.problem == nullptr) alpha = parsed.value;
  }
  if (!(alpha > 0 && alpha < 100))
    throw csv.error(kDistribution,
                    fmt::format("'{}' is not known, expected balanced or power_law_ALPHA", name));
  return alpha;
}

// bf16 experts, and MXFP4 ones by OpenAI's kernels: what the closed form stands for.
void read_experts(const std::string& file, KernelTable& table) {
  CsvTable csv({file, {}}, moe_columns(), {"kernel_source", "flag"});
  while (csv.next()) {
    MoeShape s;
    const std::string_view dtype = csv.field(kMoeDtype);
    const bool mxfp4 = dtype == "w4a16_mxfp4" && csv.has(kMoeSource) &&
                       csv.field(kMoeSource).find("oaitriton") != std::string_view::npos;
    if (flagged(csv, kMoeFlag) || (!mxfp4 && dtype != "bfloat16")) continue;
    const auto small = [&](std::size_t column) {
      return static_cast<int>(positive(csv, column, kMostExperts));
    };
    s.tokens = positive(csv, kTokens);
    s.hidden = positive(csv, kHidden), s.expert_width = positive(csv, kWidth);
    s.experts = small(kExperts), s.top_k = small(kTopK);
    s.tp = small(kMoeTp), s.ep = small(kMoeEp);
    s.power_law = power_law_of(csv);
    s.gated = gated_in_tables(s.hidden, s.expert_width, s.experts);
    if (mxfp4) s.dtype = DType::fp4;
    if (s.experts % s.ep != 0)
      throw csv.error(kMoeEp, fmt::format("{} does not divide the {} experts", s.ep, s.experts));
    if (s.top_k > s.experts)
      throw csv.error(kTopK, fmt::format("{} is above the {} experts", s.top_k, s.experts));
    table.add_moe(s, latency_us(csv, kMoeLatency));
  }
}

void read_nccl(const std::string& file, KernelTable& table) {
  const std::vector<std::pair<std::string, Collective>> operations = {
      {"all_reduce", Collective::all_reduce},
      {"all_gather", Collective::all_gather},
      {"reduce_scatter", Collective::reduce_scatter},
      {"alltoall", Collective::all_to_all}};
  CsvTable csv({file, {}}, nccl_columns(), {"flag"});
  while (csv.next()) {
    if (flagged(csv, kNcclFlag)) continue;
    const auto of = std::find_if(operations.begin(), operations.end(),
                                 [&](const auto& o) { return o.first == csv.field(kOperation); });
    if (of == operations.end())
      throw csv.error(kOperation,
                      fmt::format("'{}' is not known, expected all_reduce, all_gather, reduce_scatter or "
                                  "alltoall",
                                  csv.field(kOperation)));
    const DType dtype = csv.field(kNcclDtype) == "int8" ? DType::int8 : DType::fp16;
    table.add_collective(of->second, ranks(csv, kNcclGpus),
                         static_cast<double>(positive(csv, kNcclElements, kMostElements)) * bytes_of(dtype),
                         dtype, latency_us(csv, kNcclLatency));
  }
}

// vLLM's own all-reduce of 16-bit numbers, as launched from a graph or by the host.
void read_all_reduces(const std::string& file, KernelTable& table) {
  CsvTable csv({file, {}}, all_reduce_columns(), {"backend", "kernel_source", "flag"});
  while (csv.next()) {
    const bool vllm = csv.has(kBackend) && csv.field(kBackend).substr(0, 5) == "vllm_" &&
                      csv.has(kReduceSource) && csv.field(kReduceSource).substr(0, 4) == "vLLM";
    if (flagged(csv, kReduceFlag) || !vllm) continue;
    table.add_all_reduce(ranks(csv, kReduceGpus),
                         2.0 * static_cast<double>(positive(csv, kReduceElements, kMostElements)),
                         csv.field(kBackend) != "vllm_eager", latency_us(csv, kReduceLatency));
  }
}

struct Kind {
  const std::vector<std::string>& (*columns)();
  void (*read)(const std::string& file, KernelTable& table);
};
constexpr Kind kKinds[] = {{gemm_columns, read_gemms},
                           {attention_columns, read_attention},
                           {moe_columns, read_experts},
                           {nccl_columns, read_nccl},
                           {all_reduce_columns, read_all_reduces}};

const Kind* kind_of(const std::vector<std::string>& header) {
  for (const Kind& kind : kKinds) {
    const std::vector<std::string>& names = kind.columns();
    if (std::all_of(names.begin(), names.end(), [&](const std::string& n) {
          return std::find(header.begin(), header.end(), n) != header.end();
        }))
      return &kind;
  }
  return nullptr;
}

}  // namespace

bool is_kernel_table(const std::string& file) { return kind_of(header_of(file)) != nullptr; }

KernelTable read_kernel_tables(const std::vector<std::string>& files, const Gpu& gpu) {
  KernelTable table;
  for (const std::string& file : files) {
    const std::vector<std::string> header = header_of(file);
    const Kind* kind = kind_of(header);
    if (kind == nullptr) {
      std::vector<std::string> known;
      for (const Kind& k : kKinds) known.push_back(join(k.columns(), ","));
      throw InputError({file, 1, 0}, fmt::format("not a kernel table, expected the columns {}, found {}",
                                                 join(known, " or "),
                                                 header.empty() ? "an empty file" : join(header, ",")));
    }
    const std::size_t before = table.size();
    kind->read(file, table);
    if (table.size() == before)
      throw InputError({file, 0, 0},
                       "holds no row that can be used: all are flagged or in formats without an operator");
  }
  table.finish(gpu);
  return table;
}

}  // namespace tessera
