// Measured kernel timings: CSV tables, plain or gzip, with the columns of the AIConfigurator tables.
//
//   const MeasurementTable table = MeasurementTable::load("h100_gemm.csv.gz");
//   table.need_columns({"m", "n", "k"});
//   for (std::size_t i = 0; i < table.size(); ++i) {
//     const Row row = table.row(i);
//     use(row.integer("m"), row.latency_us());
//   }
//
// A cell is parsed when it is asked for; a bad one is an InputError with its file, line and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/base/error.hpp"

namespace tessera {

class MeasurementTable;

// One measurement. Cheap to copy; valid while its table lives and stays where it is.
class Row {
 public:
  Row(const MeasurementTable& table, std::size_t index) : table_(&table), index_(index) {}

  [[nodiscard]] bool has(std::string_view column) const;
  [[nodiscard]] std::string_view text(std::string_view column) const;
  [[nodiscard]] double number(std::string_view column) const;
  [[nodiscard]] std::int64_t integer(std::string_view column) const;
  // The integer, or `otherwise` where the table has no such column.
  [[nodiscard]] std::int64_t integer_or(std::string_view column, std::int64_t otherwise) const;

  // An integer of this range, else an InputError that names it.
  [[nodiscard]] std::int64_t count(std::string_view column, std::int64_t least, std::int64_t most) const;
  // The cell as part of a key: a whole number in one spelling (1536.0 is 1536), anything else as it stands.
  [[nodiscard]] std::string key(std::string_view column) const;

  [[nodiscard]] double latency_us() const;  // > 0
  [[nodiscard]] bool flagged() const;       // a non-empty `flag` cell: do not use by default
  [[nodiscard]] int line() const;
  [[nodiscard]] Location at(std::string_view column) const;
  [[nodiscard]] const MeasurementTable& table() const { return *table_; }

 private:
  const MeasurementTable* table_;
  std::size_t index_;
};

class MeasurementTable {
 public:
  // Throws InputError: no such file, a broken gzip stream, a row with the wrong number of cells, no
  // latency_ms where the rows are `timed`.
  static MeasurementTable load(const std::string& path, bool timed = true);
  static MeasurementTable parse(std::string text, const std::string& file, bool timed = true);

  [[nodiscard]] std::size_t size() const { return lines_.size(); }
  [[nodiscard]] Row row(std::size_t index) const { return {*this, index}; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] const std::vector<std::string>& columns() const { return columns_; }
  [[nodiscard]] int find_column(std::string_view name) const;  // -1: absent
  void need_columns(const std::vector<std::string>& names) const;
  [[nodiscard]] bool same_rows(const MeasurementTable& other) const { return text_ == other.text_; }

 private:
  friend class Row;
  struct Cell {
    std::uint32_t begin, end;  // in text_
  };
  [[nodiscard]] std::string_view cell(std::size_t row, int column) const;
  [[nodiscard]] Location cell_at(std::size_t row, int column) const;

  std::string file_;
  std::string text_;
  std::vector<std::string> columns_;
  std::vector<Cell> cells_;  // row-major
  std::vector<int> lines_;   // line number of each row, from 1
};

// `--where col=value[,value]`: the row's cell equals one of the values.
struct Where {
  std::string column;
  std::vector<std::string> values;
  [[nodiscard]] bool holds(const Row& row) const;
};
Where parse_where(const std::string& text);  // throws InputError

// A hash that never changes: it decides for good which shapes a fit may see.
std::uint64_t stable_hash(std::string_view text);
// Half of all shapes are never fitted on.
inline bool is_held_out(std::string_view shape_key) { return (stable_hash(shape_key) >> 63) != 0; }

}  // namespace tessera
