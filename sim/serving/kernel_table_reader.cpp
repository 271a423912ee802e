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
constexpr double kLongestMs = 1e6;                   // of one launch
constexpr int kLargestHead = 256;                    // that the attention forms are made for

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

enum class Kind { gemm, attention };

std::optional<Kind> kind_of(const std::vector<std::string>& header) {
  const auto has_all = [&](const std::vector<std::string>& names) {
    return std::all_of(names.begin(), names.end(), [&](const std::string& n) {
      return std::find(header.begin(), header.end(), n) != header.end();
    });
  };
  if (has_all(gemm_columns())) return Kind::gemm;
  if (has_all(attention_columns())) return Kind::attention;
  return std::nullopt;
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

}  // namespace

bool is_kernel_table(const std::string& file) { return kind_of(header_of(file)).has_value(); }

KernelTable read_kernel_tables(const std::vector<std::string>& files, const Gpu& gpu) {
  KernelTable table;
  for (const std::string& file : files) {
    const std::vector<std::string> header = header_of(file);
    const std::optional<Kind> kind = kind_of(header);
    if (!kind)
      throw InputError({file, 1, 0},
                       fmt::format("not a kernel table, expected the columns {} or {}, found {}",
                                   join(gemm_columns(), ","), join(attention_columns(), ","),
                                   header.empty() ? "an empty file" : join(header, ",")));
    const std::size_t before = table.size();
    *kind == Kind::gemm ? read_gemms(file, table) : read_attention(file, table);
    if (table.size() == before)
      throw InputError({file, 0, 0},
                       "holds no row that can be used: all are flagged or in formats without an operator");
  }
  table.finish(gpu);
  return table;
}

}  // namespace tessera
