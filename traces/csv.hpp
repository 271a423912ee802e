// A comma-separated table with a header, read row by row. Columns are found by name in any order;
// a missing or repeated column, a short or long row and a bad value are InputErrors that name the
// file, the line and the column. Quoted fields are understood; a line break inside quotes is refused.
// Lines that start with '#' before the header are comments; empty lines are passed over.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "traces/line_reader.hpp"
#include "traces/numbers.hpp"

namespace tessera {

class CsvTable {
 public:
  // `required` and then `optional` columns are numbered 0, 1, ... for the calls below.
  CsvTable(const Source& source, std::vector<std::string> required, std::vector<std::string> optional = {});

  bool next();

  [[nodiscard]] bool has(std::size_t column) const { return place_[column] >= 0; }
  [[nodiscard]] std::string_view field(std::size_t column) const {
    return fields_[static_cast<std::size_t>(place_[column])];
  }
  [[nodiscard]] std::uint64_t integer(std::size_t column, std::uint64_t max) const;
  [[nodiscard]] std::int32_t tokens(std::size_t column) const;  // 1 to kMaxTokens
  [[nodiscard]] Instant duration(std::size_t column, int exponent = 0) const;
  [[nodiscard]] Instant timestamp(std::size_t column) const;
  [[nodiscard]] double decimal(std::size_t column) const;

  // An InputError `file:line: column: problem`.
  [[nodiscard]] InputError error(std::size_t column, const std::string& problem) const;
  [[nodiscard]] Location at() const { return lines_.at(); }
  [[nodiscard]] const std::vector<std::string>& ignored_columns() const { return ignored_; }
  [[nodiscard]] const std::vector<std::string>& header() const { return header_; }

 private:
  void read_header(std::size_t required);
  void split(std::string_view line);
  void split_quoted(std::string_view line);

  LineReader lines_;
  std::vector<std::string> names_;   // as asked for
  std::vector<std::string> header_;  // as found
  std::vector<std::string> ignored_;
  std::vector<int> place_;  // of each name in the header; -1: absent
  std::vector<std::string_view> fields_;
  std::vector<std::string> unquoted_;  // storage of fields with doubled quotes
};

// The columns of a CSV header line, unquoted and trimmed.
std::vector<std::string> header_columns(std::string_view line);

// The message of a token count that is none; `problem` as from parse_integer, null for zero.
std::string bad_tokens(std::string_view text, const char* problem);

}  // namespace tessera
