// Scattered measurements of one kernel: the utilisation near a point, and what
// lies within them. Method: measured_rows.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {

// Measured rows of one kernel as points in log2 space; unused axes are zero.
class MeasuredRows {
 public:
  static constexpr std::size_t kAxes = 4;
  using Point = std::array<double, kAxes>;

  // `log_utilisation` = ln(reference time / measured time).
  void add(const Point& at, double log_utilisation) { rows_.push_back({at, log_utilisation}); }
  void finish();  // merges rows at one point to their mean and builds the search tree
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Of the row at that point if there is one; else, inside the grid, a plane
  // through the nearest rows, and outside it their mean.
  [[nodiscard]] double log_utilisation(const Point& at, bool inside) const;

 private:
  struct Row {
    Point at;
    double log_utilisation;
  };
  struct Nearest;

  void build(std::size_t begin, std::size_t end);
  void search(std::size_t begin, std::size_t end, const Point& at, Nearest& nearest) const;

  std::vector<Row> rows_;           // a balanced k-d tree: the middle of a range splits it
  std::vector<std::uint8_t> axis_;  // that each row splits on
};

// Which points lie within what was measured: some row is at least as large
// along every axis and some row at most as large. Grids end in a staircase
// where memory did, so a box would be too generous.
class MeasuredRange {
 public:
  using Corner = std::array<std::int64_t, 3>;
  void add(const Corner& corner);
  [[nodiscard]] bool contains(const Corner& corner) const;

 private:
  std::vector<Corner> largest_, smallest_;  // none dominates another
};

}  // namespace tessera
