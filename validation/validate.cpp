#include "validation/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace tessera {
namespace {

bool selected(const Row& row, const std::vector<Where>& where) {
  return std::all_of(where.begin(), where.end(), [&](const Where& w) { return w.holds(row); });
}

// The fit names its tables, so that a row can be told from one the parameters have never seen.
bool was_fitted_on(const KernelBehaviour& behaviour, const Gpu& gpu, const std::string& source,
                   const std::string& file) {
  const bool borrowed = source.compare(0, 9, "estimated") == 0;
  return !borrowed && behaviour.card == gpu.name &&
         source.find(std::filesystem::path(file).filename().string()) != std::string::npos;
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

ValidationReport validate(const KernelValidator& kernel, Gpu gpu, const std::vector<MeasurementTable>& tables,
                          const ValidateOptions& options) {
  gpu.kernels->sustained_clock_fraction = 1;
  ValidationReport report;
  report.kernel = kernel.name;
  report.gpu = gpu.name;
  std::vector<double> used, in_sample, held_out, out_of_range;
  GroupedErrors groups;
  WorstRows worst(options.worst);
  const std::string source = kernel.source(gpu.kernels.value);
  for (const MeasurementTable& table : tables) {
    table.need_columns(kernel.columns);
    for (const Where& where : options.where) table.need_columns({where.column});
    const bool fitted_table = was_fitted_on(*gpu.kernels, gpu, source, table.file());
    for (std::size_t i = 0; i < table.size(); ++i) {
      const Row row = table.row(i);
      if (!selected(row, options.where)) continue;
      ++report.rows;
      if (row.flagged() && !options.flagged_too) {
        ++report.flagged;
        continue;
      }
      if (!kernel.covers(row)) {
        ++report.unsupported;
        continue;
      }
      const OpTime predicted = kernel.predict(gpu, row);
      const double measured = row.latency_us();
      const double ratio = predicted.total / measured;
      const std::string shape = kernel.shape_key(row);
      used.push_back(ratio);
      const bool seen = fitted_table && kernel.fitted(row) && !is_held_out(shape);
      (!predicted.in_range ? out_of_range : seen ? in_sample : held_out).push_back(ratio);
      groups.add(fmt::format("kernel_source={}", row.text("kernel_source")), ratio);
      groups.add("dtype=" + kernel.dtype(row), ratio);
      groups.add("regime=" + kernel.regime(row), ratio);
      worst.offer(row, shape, measured, predicted);
    }
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
  report.groups = groups.summaries();
  return report;
}

}  // namespace tessera
