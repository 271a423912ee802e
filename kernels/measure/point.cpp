#include "kernels/measure/point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/units.hpp"

namespace tessera::measure {
namespace {

std::size_t column_of(const Point& point, std::string_view column) {
  const auto& columns = point.bench->columns;
  const auto at = std::find(columns.begin(), columns.end(), column);
  TESSERA_CHECK(at != columns.end(), "a bench asks for its own columns");
  return static_cast<std::size_t>(at - columns.begin());
}

}  // namespace

const std::string& Point::text(std::string_view column) const { return cells[column_of(*this, column)]; }

std::int64_t Point::number(std::string_view column) const {
  const std::string& cell = text(column);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  TESSERA_CHECK(error == std::errc{} && end == cell.data() + cell.size(), "a numeric cell holds a number");
  return value;
}

bool Point::has(std::string_view column) const {
  const auto& columns = bench->columns;
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

std::string Point::key() const { return fmt::format("{} copies {}", fmt::join(cells, " "), copies); }

bool Sample::wrong(const Bench& bench) const { return error && !(*error <= bench.tolerance); }

double Sample::quantile_ms(double q) const {
  TESSERA_CHECK(!times_ms.empty(), "a measured point has times");
  std::vector<double> sorted = times_ms;
  std::sort(sorted.begin(), sorted.end());
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(rank);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (rank - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double sets_past_l2(double l2_bytes, const Bench::Work& work) {
  const double touched = work.touched > 0 ? work.touched : work.footprint;
  return std::ceil(2 * l2_bytes / std::max(1.0, touched)) + 1;
}

std::int64_t sets_of_buffers(const DeviceInfo& device, const Bench::Work& work, std::int64_t asked) {
  const double room = 0.8 * static_cast<double>(device.memory_bytes) - work.shared;
  const double fit = std::floor(room / std::max(1.0, work.footprint));
  const auto least = static_cast<double>(std::max<std::int64_t>(1, asked));
  if (fit < least)
    throw RunError(fmt::format("needs {} of memory, the card has {}",
                               human_bytes(work.footprint * least + work.shared),
                               human_bytes(static_cast<double>(device.memory_bytes))));
  if (asked > 0) return asked;
  const double wanted = std::min(fit, sets_past_l2(static_cast<double>(device.l2_bytes), work));
  if (wanted > static_cast<double>(kMostSets))
    throw RunError(
        fmt::format("too small to pass the L2: takes {:.0f} sets of buffers, at most {}", wanted, kMostSets));
  return static_cast<std::int64_t>(wanted);
}

Timing timing_of(const Settings& settings, std::int64_t copies) {
  return {settings.warmup, settings.repeats, copies * ceil_div(settings.min_ops, copies), true};
}

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  TESSERA_CHECK(a.size() == b.size(), "results of one shape");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    difference += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
  }
  if (norm == 0) return difference == 0 ? 0 : std::numeric_limits<double>::infinity();
  return std::sqrt(difference / norm);
}

}  // namespace tessera::measure
