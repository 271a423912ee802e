// ln u at a point from scattered rows: a plane of least squares through the 16
// nearest, weighted by inverse squared distance, twice reweighted by 1 / (1 +
// (residual / (2 median residual))^2) because libraries switch kernels between
// neighbours, and kept within their heights. Nearest rows come from a balanced
// k-d tree.
#include "kernels/cost/measured_rows.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr std::size_t kNeighbours = 16;
constexpr double kRidge = 0.02;      // keeps slopes finite along axes on which no neighbour differs
constexpr double kSoftening = 1e-3;  // of distances, in octaves
constexpr int kReweightings = 2;     // of rows off the plane: libraries switch kernels between neighbours
constexpr double kNoise = 1e-3;      // of ln u, below which no row is off

}  // namespace

struct MeasuredRows::Nearest {
  struct Found {
    double distance2;
    const Row* row;
    // Equal distances are common on a grid; the point decides, whatever order
    // the rows came in.
    bool operator<(const Found& o) const {
      return distance2 != o.distance2 ? distance2 < o.distance2 : row->at < o.row->at;
    }
  };
  std::array<Found, kNeighbours> found;  // ascending
  std::size_t size = 0;

  void offer(const Found& candidate) {
    if (size == kNeighbours && !(candidate < found[size - 1])) return;
    std::size_t at = size < kNeighbours ? size++ : size - 1;
    for (; at > 0 && candidate < found[at - 1]; --at) found[at] = found[at - 1];
    found[at] = candidate;
  }
  [[nodiscard]] bool may_improve(double distance2) const {
    return size < kNeighbours || distance2 <= found[size - 1].distance2;
  }

  [[nodiscard]] double weight(std::size_t i) const {
    const double d = std::sqrt(found[i].distance2) + kSoftening;
    return 1 / (d * d);
  }
  [[nodiscard]] double mean() const {
    double sum = 0, weights = 0;
    for (std::size_t i = 0; i < size; ++i) {
      sum += weight(i) * found[i].row->log_utilisation;
      weights += weight(i);
    }
    return sum / weights;
  }
  // The height at `at` of a plane through the rows, kept within their heights.
  [[nodiscard]] double plane(const Point& at) const;
};

namespace {

// height = p[0] + p[1] x[0] + p[2] x[1] + ..
constexpr std::size_t kUnknowns = MeasuredRows::kAxes + 1;
using Plane = std::array<double, kUnknowns>;
using PlaneRow = std::array<double, kUnknowns + 1>;  // 1, x.., height

double height_of(const Plane& plane, const PlaneRow& row) {
  double sum = 0;
  for (std::size_t i = 0; i < kUnknowns; ++i) sum += plane[i] * row[i];
  return sum;
}

// The plane of least weighted squares.
Plane fit_plane(std::span<const PlaneRow> rows, std::span<const double> weights) {
  std::array<PlaneRow, kUnknowns> a{};  // normal equations and their right side
  double sum = 0;
  for (const double w : weights) sum += w;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double weight = weights[i] / sum;
    for (std::size_t r = 0; r < kUnknowns; ++r)
      for (std::size_t c = 0; c <= kUnknowns; ++c) a[r][c] += weight * rows[i][r] * rows[i][c];
  }
  for (std::size_t d = 1; d < kUnknowns; ++d) a[d][d] += kRidge;
  // Positive definite, so elimination needs no pivoting. The upper triangle is
  // cleared.
  for (std::size_t p = kUnknowns; p-- > 1;)
    for (std::size_t r = 0; r < p; ++r) {
      const double factor = a[r][p] / a[p][p];
      for (std::size_t c = 0; c <= kUnknowns; ++c) a[r][c] -= factor * a[p][c];
    }
  Plane plane;
  for (std::size_t r = 0; r < kUnknowns; ++r) {
    plane[r] = a[r][kUnknowns];
    for (std::size_t c = 0; c < r; ++c) plane[r] -= a[r][c] * plane[c];
    plane[r] /= a[r][r];
  }
  return plane;
}

double median(std::span<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

double MeasuredRows::Nearest::plane(const Point& at) const {
  std::array<PlaneRow, kNeighbours> rows;
  std::array<double, kNeighbours> near, weights, off, scratch;
  for (std::size_t i = 0; i < size; ++i) {
    rows[i][0] = 1;
    for (std::size_t d = 0; d < kAxes; ++d) rows[i][d + 1] = found[i].row->at[d] - at[d];
    rows[i][kUnknowns] = found[i].row->log_utilisation;
    weights[i] = near[i] = weight(i);
  }
  const std::span<const PlaneRow> all(rows.data(), size);
  Plane fitted = fit_plane(all, {weights.data(), size});
  for (int round = 0; round < kReweightings; ++round) {
    for (std::size_t i = 0; i < size; ++i)
      scratch[i] = off[i] = std::abs(rows[i][kUnknowns] - height_of(fitted, rows[i]));
    const double scale = 2 * (median({scratch.data(), size}) + kNoise);
    for (std::size_t i = 0; i < size; ++i) weights[i] = near[i] / (1 + off[i] * off[i] / (scale * scale));
    fitted = fit_plane(all, {weights.data(), size});
  }
  const auto by_height = [](const PlaneRow& a, const PlaneRow& b) { return a[kUnknowns] < b[kUnknowns]; };
  const auto [low, high] = std::minmax_element(all.begin(), all.end(), by_height);
  return std::clamp(fitted[0], (*low)[kUnknowns], (*high)[kUnknowns]);
}

void MeasuredRows::finish() {
  std::sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) {
    return a.at != b.at ? a.at < b.at : a.log_utilisation < b.log_utilisation;
  });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows_.size();) {
    std::size_t end = i;
    double sum = 0;
    for (; end < rows_.size() && rows_[end].at == rows_[i].at; ++end) sum += rows_[end].log_utilisation;
    rows_[kept++] = {rows_[i].at, end - i == 1 ? sum : sum / static_cast<double>(end - i)};
    i = end;
  }
  rows_.resize(kept);
  axis_.assign(kept, 0);
  build(0, kept);
}

void MeasuredRows::build(std::size_t begin, std::size_t end) {
  if (end - begin < 2) return;
  std::size_t widest = 0;
  double width = -1;
  for (std::size_t d = 0; d < kAxes; ++d) {
    double low = rows_[begin].at[d], high = low;
    for (std::size_t i = begin; i < end; ++i) {
      low = std::min(low, rows_[i].at[d]);
      high = std::max(high, rows_[i].at[d]);
    }
    if (high - low > width) width = high - low, widest = d;
  }
  const std::size_t middle = begin + (end - begin) / 2;
  const auto first = rows_.begin();
  std::nth_element(first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(middle),
                   first + static_cast<std::ptrdiff_t>(end),
                   [widest](const Row& a, const Row& b) { return a.at[widest] < b.at[widest]; });
  axis_[middle] = static_cast<std::uint8_t>(widest);
  build(begin, middle);
  build(middle + 1, end);
}

void MeasuredRows::search(std::size_t begin, std::size_t end, const Point& at, Nearest& nearest) const {
  if (begin == end) return;
  const std::size_t middle = begin + (end - begin) / 2;
  const Row& row = rows_[middle];
  double distance2 = 0;
  for (std::size_t d = 0; d < kAxes; ++d) distance2 += (row.at[d] - at[d]) * (row.at[d] - at[d]);
  nearest.offer({distance2, &row});
  const double beyond = at[axis_[middle]] - row.at[axis_[middle]];
  const bool left = beyond < 0;
  if (left)
    search(begin, middle, at, nearest);
  else
    search(middle + 1, end, at, nearest);
  if (!nearest.may_improve(beyond * beyond)) return;
  if (left)
    search(middle + 1, end, at, nearest);
  else
    search(begin, middle, at, nearest);
}

double MeasuredRows::log_utilisation(const Point& at, bool inside) const {
  TESSERA_CHECK(!rows_.empty(), "utilisation is asked of measured rows");
  Nearest nearest;
  search(0, rows_.size(), at, nearest);
  if (nearest.found[0].distance2 == 0) return nearest.found[0].row->log_utilisation;
  return inside ? nearest.plane(at) : nearest.mean();
}

namespace {

bool covers(const MeasuredRange::Corner& large, const MeasuredRange::Corner& small) {
  for (std::size_t d = 0; d < large.size(); ++d)
    if (large[d] < small[d]) return false;
  return true;
}

}  // namespace

void MeasuredRange::add(const Corner& corner) {
  const auto above = [&](const Corner& other) { return covers(other, corner); };
  const auto below = [&](const Corner& other) { return covers(corner, other); };
  if (std::none_of(largest_.begin(), largest_.end(), above)) {
    std::erase_if(largest_, below);
    largest_.push_back(corner);
  }
  if (std::none_of(smallest_.begin(), smallest_.end(), below)) {
    std::erase_if(smallest_, above);
    smallest_.push_back(corner);
  }
}

bool MeasuredRange::contains(const Corner& corner) const {
  return std::any_of(largest_.begin(), largest_.end(), [&](const Corner& c) { return covers(c, corner); }) &&
         std::any_of(smallest_.begin(), smallest_.end(), [&](const Corner& c) { return covers(corner, c); });
}

}  // namespace tessera
