// Which tables the record is made of, and its two written forms. Rows: those no parameter was fitted on (the
// held-out half of the shapes; for `table` each row from other folds; every row of a card with borrowed
// figures or of a layer profile), inside the measured range. The tile source simulates a sample, chosen by
// hash of the shape.
#include "validation/record.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "models/base/text.hpp"
#include "validation/layer_rows.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Listed {
  const char* gpu;
  const char* kernel;
  const char* file;
};

constexpr Listed kKernelTables[] = {
    {"a100-sxm-80g", "gemm", "a100_sxm_vllm-0.14.0_gemm"},
    {"a100-sxm-80g", "generation_attention", "a100_sxm_vllm-0.14.0_generation_attention"},
    {"a100-sxm-80g", "context_attention", "a100_sxm_vllm-0.14.0_context_attention"},
    {"a100-sxm-80g", "moe", "a100_sxm_vllm-0.14.0_moe"},
    {"a100-sxm-80g", "nccl", "a100_sxm_nccl-2.27.3"},
    {"a100-sxm-80g", "custom_allreduce", "a100_sxm_vllm-0.14.0_custom_allreduce"},
    {"h100-sxm", "gemm", "h100_sxm_vllm-0.24.0_gemm"},
    {"h100-sxm", "generation_attention", "h100_sxm_vllm-0.24.0_generation_attention"},
    {"h100-sxm", "context_attention", "h100_sxm_vllm-0.24.0_context_attention"},
    {"h100-sxm", "moe", "h100_sxm_vllm-0.24.0_moe"},
    {"h100-sxm", "nccl", "h100_sxm_nccl-2.29.2"},
    {"h100-sxm", "custom_allreduce", "h100_sxm_vllm-0.24.0_custom_allreduce"},
    {"h200-sxm", "gemm", "h200_sxm_vllm-0.24.0_gemm"},
    {"h200-sxm", "generation_attention", "h200_sxm_vllm-0.24.0_generation_attention"},
    {"h200-sxm", "context_attention", "h200_sxm_vllm-0.24.0_context_attention"},
    {"h200-sxm", "moe", "h200_sxm_vllm-0.24.0_moe"},
    {"h200-sxm", "nccl", "h200_sxm_nccl-2.29.2"},
    {"h200-sxm", "custom_allreduce", "h200_sxm_vllm-0.24.0_custom_allreduce"},
    {"l40s", "gemm", "l40s_vllm-0.24.0_gemm"},
    {"l40s", "generation_attention", "l40s_vllm-0.24.0_generation_attention"},
    {"l40s", "context_attention", "l40s_vllm-0.24.0_context_attention"},
    {"rtx-pro-6000", "gemm", "rtx_pro_6000_server_vllm-0.24.0_gemm"},
    {"rtx-pro-6000", "generation_attention", "rtx_pro_6000_server_vllm-0.24.0_generation_attention"},
    {"rtx-pro-6000", "context_attention", "rtx_pro_6000_server_vllm-0.24.0_context_attention"},
    {"rtx-pro-6000", "moe", "rtx_pro_6000_server_vllm-0.24.0_moe"},
};
constexpr Listed kLayerProfiles[] = {
    {"rtx-pro-6000", "layer_gemm", "e2e/llmservingsim/profiles/RTXPRO6000_Llama-3.1-8B/tp1_dense"},
    {"rtx-pro-6000", "layer_attention", "e2e/llmservingsim/profiles/RTXPRO6000_Llama-3.1-8B/tp1_attention"},
    {"rtx-4090", "layer_gemm", "e2e/llmservingsim/profiles/RTX4090_Llama-3.1-8B/tp1_dense"},
    {"rtx-4090", "layer_attention", "e2e/llmservingsim/profiles/RTX4090_Llama-3.1-8B/tp1_attention"},
    {"a6000", "layer_gemm", "silicon/llmservingsim_v0/A6000_Llama-3.1-8B_tp1_layers"},
};
constexpr std::int64_t kMostRows = std::int64_t{1} << 40;
constexpr const char* kHeader =
    "gpu,kernel,dtype,source,unseen,rows,of,median_ape,mape,p90_ape,bias,rank_correlation,table,date,commit";

std::string found(const fs::path& stem) {
  for (const char* end : {".csv.gz", ".csv"})
    if (fs::exists(stem.string() + end)) return stem.string() + end;
  return "";
}

bool has_source(const std::string& kernel, Cost cost) {
  for (const KernelValidator& v : kernel_validators(cost))
    if (v.name == kernel) return true;
  return false;
}

void add(const Listed& listed, const std::string& file, const RecordOptions& options,
         std::vector<RecordedAccuracy>& record) {
  std::vector<MeasurementTable> tables;
  tables.push_back(load_measurements(file));
  for (const Cost cost : {Cost::roofline, Cost::tile, Cost::table}) {
    if (!has_source(listed.kernel, cost)) continue;
    const KernelValidator& kernel = kernel_validator(listed.kernel, cost);
    const Gpu gpu = load_gpu(listed.gpu);
    ValidateOptions validation;
    validation.cost = cost;
    validation.worst = 0;
    if (cost == Cost::tile) validation.sample = options.tile_sample;
    const ValidationReport report = validate(kernel, gpu, tables, validation);
    const char* unseen = cost == Cost::table ? "folds" : report.in_sample.rows > 0 ? "half" : "borrowed";
    for (const auto& [dtype, errors] : report.held_out_by_dtype)
      record.push_back({listed.gpu, listed.kernel, dtype, name_of(cost), unseen,
                        fs::path(file).filename().string(), errors, report.usable, options.date,
                        options.commit});
  }
}

}  // namespace

std::vector<RecordedAccuracy> record_accuracy(const RecordOptions& options) {
  const fs::path root(options.data);
  const fs::path aic = fs::exists(root / "silicon" / "aic") ? root / "silicon" / "aic" : root;
  std::vector<RecordedAccuracy> record;
  for (const Listed& listed : kKernelTables)
    if (const std::string file = found(aic / listed.file); !file.empty()) add(listed, file, options, record);
  for (const Listed& listed : kLayerProfiles)
    if (const std::string file = found(root / listed.file); !file.empty()) add(listed, file, options, record);
  if (record.empty())
    throw InputError(
        fmt::format("--data {}: none of the record's tables is here, expected silicon/aic/{}.csv.gz "
                    "and its like",
                    options.data, kKernelTables[0].file));
  return record;
}

std::string to_csv(const std::vector<RecordedAccuracy>& record) {
  std::string text = std::string(kHeader) + "\n";
  for (const RecordedAccuracy& r : record)
    text +=
        fmt::format("{},{},{},{},{},{},{},{:.2f},{:.2f},{:.2f},{:.2f},{:.4f},{},{},{}\n", r.gpu, r.kernel,
                    r.dtype, r.source, r.unseen, r.errors.rows, r.of, r.errors.median_ape, r.errors.mape,
                    r.errors.p90_ape, r.errors.bias, r.errors.rank_correlation, r.table, r.date, r.commit);
  return text;
}

std::vector<RecordedAccuracy> parse_record(const std::string& csv, const std::string& file) {
  const MeasurementTable t = MeasurementTable::parse(csv, file, false);
  if (join(t.columns(), ",") != kHeader)
    throw InputError(Location{file, 1, 1},
                     std::string("not an accuracy record, expected the header ") + kHeader);
  std::vector<RecordedAccuracy> record;
  const auto text = [](const Row& row, const char* column) { return std::string(row.text(column)); };
  for (std::size_t i = 0; i < t.size(); ++i) {
    const Row row = t.row(i);
    const std::int64_t of = row.count("of", 0, kMostRows), rows = row.count("rows", 0, of);
    const ErrorSummary errors{
        static_cast<std::size_t>(rows), row.number("mape"), row.number("median_ape"),
        row.number("p90_ape"),          row.number("bias"), row.number("rank_correlation")};
    record.push_back({text(row, "gpu"), text(row, "kernel"), text(row, "dtype"), text(row, "source"),
                      text(row, "unseen"), text(row, "table"), errors, static_cast<std::size_t>(of),
                      text(row, "date"), text(row, "commit")});
  }
  return record;
}

std::string to_markdown(const std::vector<RecordedAccuracy>& record) {
  constexpr const char* kSources[] = {"roofline", "tile", "table"};
  std::vector<std::string> order;  // as recorded
  std::map<std::string, std::map<std::string, const RecordedAccuracy*>> lines;
  for (const RecordedAccuracy& r : record) {
    const std::string line = fmt::format("{} | {} | {}", r.gpu, r.kernel, r.dtype);
    if (lines.find(line) == lines.end()) order.push_back(line);
    lines[line][r.source] = &r;
  }
  std::string text =
      "Median / 90th percentile of the absolute error in %, on rows no parameter or table saw (rows).\n\n"
      "| card | kernel | type | roofline | tile | table |\n|---|---|---|---|---|---|\n";
  for (const std::string& line : order) {
    text += "| " + line + " |";
    for (const char* source : kSources) {
      const auto cell = lines[line].find(source);
      text += cell == lines[line].end()
                  ? " |"
                  : fmt::format(" {:.1f} / {:.1f} ({}{}) |", cell->second->errors.median_ape,
                                cell->second->errors.p90_ape, cell->second->errors.rows,
                                cell->second->unseen == "borrowed" ? ", unfitted" : "");
    }
    text += '\n';
  }
  if (!record.empty())
    text += fmt::format("\nMeasured {} at {}.\n", record.front().date, record.front().commit);
  return text;
}

}  // namespace tessera
