#include "validation/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "validation/folds.hpp"

namespace tessera {
namespace {

bool selected(const Row& row, const std::vector<Where>& where) {
  return std::all_of(where.begin(), where.end(), [&](const Where& w) { return w.holds(row); });
}

// The fit names its tables and whether it took all their rows, so that a row can be told from one the
// parameters have never seen.
enum class Fitted { no, half, all };

Fitted fitted_on(const KernelBehaviour& behaviour, const Gpu& gpu, const std::string& source,
                 const std::string& file) {
  const bool borrowed = source.compare(0, 9, "estimated") == 0;
  const std::string name = std::filesystem::path(file).filename().string();
  // The whole name: after a space or at the start, before ", fitted on".
  std::size_t at = source.find(name + ", fitted on");
  while (at != std::string::npos && at > 0 && source[at - 1] != ' ')
    at = source.find(name + ", fitted on", at + 1);
  if (borrowed || behaviour.card != gpu.name || at == std::string::npos) return Fitted::no;
  return source.compare(at + name.size(), 15, ", fitted on all") == 0 ? Fitted::all : Fitted::half;
}

// The n rows furthest off, as a heap whose front is the least bad of them.
class WorstRows {
 public:
  explicit WorstRows(std::size_t count) : count_(count) {}
  void offer(const Row& row, const std::string& shape, double measured_us, const OpTime& predicted) {
    const double badness = std::abs(std::log(predicted.total / measured_us));
    if (count_ == 0 || (rows_.size() == count_ && badness <= rows_.front().first)) return;
    if (rows_.size() == count_) {
      std::pop_heap(rows_.begin(), rows_.end(), less_bad_first);
      rows_.pop_back();
    }
    rows_.push_back({badness, {row.table().file(), row.line(), shape, measured_us, predicted}});
    std::push_heap(rows_.begin(), rows_.end(), less_bad_first);
  }
  std::vector<WorstRow> take() {
    std::sort_heap(rows_.begin(), rows_.end(), less_bad_first);
    std::vector<WorstRow> result;
    for (auto& [badness, row] : rows_) result.push_back(std::move(row));
    return result;
  }

 private:
  using Entry = std::pair<double, WorstRow>;
  static bool less_bad_first(const Entry& a, const Entry& b) { return a.first > b.first; }
  std::size_t count_;
  std::vector<Entry> rows_;
};

}  // namespace

namespace {

struct Selected {
  Row row;
  std::string shape, fold_key;
  Fitted fitted;
};

std::string key_of(const Row& row, const std::vector<std::string>& columns) {
  std::string key;
  for (const std::string& column : columns) key += row.key(column) + " ";
  return key;
}

// The rows to predict, counted on the way.
std::vector<Selected> select(const KernelValidator& kernel, Gpu& gpu,
                             const std::vector<MeasurementTable>& tables, const ValidateOptions& options,
                             ValidationReport& report) {
  std::vector<Selected> rows;
  const std::string source = kernel.source(gpu.kernels.value);
  for (const MeasurementTable& table : tables) {
    table.need_columns(kernel.columns);
    for (const Where& where : options.where) table.need_columns({where.column});
    table.need_columns(options.fold_by);
    const Fitted fitted =
        options.cost == Cost::table ? Fitted::no : fitted_on(*gpu.kernels, gpu, source, table.file());
    for (std::size_t i = 0; i < table.size(); ++i) {
      const Row row = table.row(i);
      if (!selected(row, options.where)) continue;
      ++report.rows;
      if (row.flagged() && !options.flagged_too)
        ++report.flagged;
      else if (!kernel.covers(row) || (kernel.same_kernel != nullptr && !kernel.same_kernel(gpu, row)))
        ++report.unsupported;
      else
        rows.push_back({row, kernel.shape_key(row), "", fitted});
    }
  }
  return rows;
}

}  // namespace

ValidationReport validate(const KernelValidator& kernel, Gpu gpu, const std::vector<MeasurementTable>& tables,
                          const ValidateOptions& options) {
  gpu.kernels->sustained_clock_fraction = 1;
  ValidationReport report;
  report.kernel = kernel.name;
  report.gpu = gpu.name;
  std::vector<Selected> rows = select(kernel, gpu, tables, options, report);
  report.usable = rows.size();
  std::optional<FoldedTables> folded;
  if (options.cost == Cost::table) {
    folded.emplace(kernel, gpu, options.folds);
    for (Selected& s : rows) s.fold_key = options.fold_by.empty() ? s.shape : key_of(s.row, options.fold_by);
    for (const Selected& s : rows) folded->add(s.row, s.fold_key);
    folded->finish();
  }
  const std::uint64_t stride =
      options.sample == 0 ? 1 : std::max<std::uint64_t>(1, rows.size() / options.sample);
  std::vector<Prediction> used, in_sample, held_out, out_of_range;
  GroupedErrors groups, unseen;
  WorstRows worst(options.worst);
  for (const Selected& s : rows) {
    if (sample_key(s.shape) % stride != 0) continue;
    const std::optional<OpTime> answer =
        folded ? folded->look_up(s.row, s.fold_key) : kernel.predict(gpu, s.row);
    if (!answer) {
      ++report.unsupported;
      continue;
    }
    const OpTime& predicted = *answer;
    const double measured = s.row.latency_us();
    const Prediction p{predicted.total, measured};
    used.push_back(p);
    const bool seen = kernel.fitted(s.row) &&
                      (s.fitted == Fitted::all || (s.fitted == Fitted::half && !is_held_out(s.shape)));
    (!predicted.in_range ? out_of_range : seen ? in_sample : held_out).push_back(p);
    if (predicted.in_range && !seen) unseen.add(kernel.dtype(s.row), p);
    groups.add(fmt::format("kernel_source={}", s.row.text("kernel_source")), p);
    groups.add("dtype=" + kernel.dtype(s.row), p);
    groups.add("regime=" + kernel.regime(s.row), p);
    worst.offer(s.row, s.shape, measured, predicted);
  }
  if (used.empty())
    throw InputError(
        fmt::format("no row of the measurements can be used: {} selected, {} flagged, {} of unsupported "
                    "implementations; expected at least one {} row",
                    report.rows, report.flagged, report.unsupported, kernel.name));
  report.worst = worst.take();
  report.used = summarise(used);
  report.in_sample = summarise(in_sample);
  report.held_out = summarise(held_out);
  report.out_of_range = summarise(out_of_range);
  report.held_out_by_dtype = unseen.summaries();
  report.groups = groups.summaries();
  return report;
}

}  // namespace tessera
