#include "validation/measurement.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <memory>

#include "models/base/check.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

std::string read_maybe_gzip(const std::string& path) {
  // gzread passes a file without the gzip magic through unchanged.
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw InputError(Location{path, 0, 0}, "cannot be opened, expected a CSV of measurements");
  std::string text;
  char chunk[1 << 16];
  int got = 0;
  while ((got = gzread(file.get(), chunk, sizeof chunk)) > 0) {
    text.append(chunk, static_cast<std::size_t>(got));
    if (text.size() > std::numeric_limits<std::uint32_t>::max())
      throw InputError(Location{path, 0, 0}, "is over 4 GiB, expected a table of kernel timings");
  }
  int code = Z_OK;
  const char* why = gzerror(file.get(), &code);
  if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
    throw InputError(Location{path, 0, 0}, fmt::format("cannot be read: {}", why));
  return text;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.back() == ' ' || s.back() == '\r')) s.remove_suffix(1);
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  return s;
}

}  // namespace

MeasurementTable MeasurementTable::load(const std::string& path, bool timed) {
  return parse(read_maybe_gzip(path), path, timed);
}

MeasurementTable MeasurementTable::parse(std::string text, const std::string& file, bool timed) {
  MeasurementTable table;
  table.file_ = file;
  table.text_ = std::move(text);
  const std::string& all = table.text_;
  int line = 0;
  std::size_t begin = 0;
  while (begin < all.size()) {
    const std::size_t end = std::min(all.find('\n', begin), all.size());
    ++line;
    const std::size_t stop = end > begin && all[end - 1] == '\r' ? end - 1 : end;
    std::size_t cells = 0;
    const bool header = table.columns_.empty();
    for (std::size_t at = begin; stop > begin && at <= stop; ++cells) {
      const std::size_t comma = std::min(all.find(',', at), stop);
      const std::string_view cell(all.data() + at, comma - at);
      if (cell.find('"') != std::string_view::npos)
        throw InputError(Location{file, line, static_cast<int>(at - begin) + 1},
                         "a quoted cell, expected plain comma-separated values");
      if (header) {
        if (!trimmed(cell).empty() && table.find_column(trimmed(cell)) >= 0)
          throw InputError(Location{file, line, static_cast<int>(at - begin) + 1},
                           fmt::format("column '{}' stands twice, expected once", trimmed(cell)));
        table.columns_.emplace_back(trimmed(cell));
      } else {
        table.cells_.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(comma)});
      }
      at = comma + 1;
    }
    if (!header && cells != 0) {
      if (cells != table.columns_.size())
        throw InputError(Location{file, line, 0},
                         fmt::format("{} cells, expected {} as in the header", cells, table.columns_.size()));
      table.lines_.push_back(line);
    }
    begin = end + 1;
  }
  if (table.columns_.empty())
    throw InputError(Location{file, 1, 1}, "is empty, expected a CSV header with latency_ms");
  if (timed) table.need_columns({"latency_ms"});
  return table;
}

int MeasurementTable::find_column(std::string_view name) const {
  for (std::size_t i = 0; i < columns_.size(); ++i)
    if (columns_[i] == name) return static_cast<int>(i);
  return -1;
}

void MeasurementTable::need_columns(const std::vector<std::string>& names) const {
  for (const std::string& name : names)
    if (find_column(name) < 0)
      throw InputError(Location{file_, 1, 1},
                       fmt::format("no column '{}', found {}{}", name, join(columns_, ", "),
                                   did_you_mean(name, columns_)));
}

std::string_view MeasurementTable::cell(std::size_t row, int column) const {
  TESSERA_CHECK(column >= 0 && row < size(), "a cell of the table");
  const Cell& c = cells_[row * columns_.size() + static_cast<std::size_t>(column)];
  return trimmed(std::string_view(text_).substr(c.begin, c.end - c.begin));
}

Location MeasurementTable::cell_at(std::size_t row, int column) const {
  const std::size_t first = row * columns_.size();
  const std::uint32_t line_begin = cells_[first].begin;
  return {file_, lines_[row],
          static_cast<int>(cells_[first + static_cast<std::size_t>(column)].begin - line_begin) + 1};
}

bool Row::has(std::string_view column) const { return table_->find_column(column) >= 0; }

std::string_view Row::text(std::string_view column) const {
  const int i = table_->find_column(column);
  if (i < 0) table_->need_columns({std::string(column)});
  return table_->cell(index_, i);
}

Location Row::at(std::string_view column) const {
  const int i = table_->find_column(column);
  if (i < 0) table_->need_columns({std::string(column)});
  return table_->cell_at(index_, i);
}

double Row::number(std::string_view column) const {
  const std::string_view cell = text(column);
  double value = 0;
  const auto [stop, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc{} || stop != cell.data() + cell.size() || !std::isfinite(value))
    throw InputError(at(column), fmt::format("{}: '{}' is not valid, expected a number", column, cell));
  return value;
}

std::int64_t Row::count(std::string_view column, std::int64_t least, std::int64_t most) const {
  const std::int64_t value = integer(column);
  if (value < least || value > most)
    throw InputError(at(column),
                     fmt::format("{}: {} is out of range, expected {} to {}", column, value, least, most));
  return value;
}

std::string Row::key(std::string_view column) const {
  const std::string_view cell = text(column);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc{} || end != cell.data() + cell.size() || value != std::floor(value) ||
      std::abs(value) > 9e15)
    return std::string(cell);
  return std::to_string(static_cast<std::int64_t>(value));
}

std::int64_t Row::integer(std::string_view column) const {
  const double value = number(column);
  if (value != std::floor(value) || std::abs(value) > 9e15)
    throw InputError(at(column),
                     fmt::format("{}: '{}' is not valid, expected a whole number", column, text(column)));
  return static_cast<std::int64_t>(value);
}

std::int64_t Row::integer_or(std::string_view column, std::int64_t otherwise) const {
  return has(column) ? integer(column) : otherwise;
}

double Row::latency_us() const {
  const double ms = number("latency_ms");
  if (!(ms > 0))
    throw InputError(at("latency_ms"),
                     fmt::format("latency_ms: {} is out of range, expected a positive time", ms));
  return ms * 1e3;
}

bool Row::flagged() const { return has("flag") && !text("flag").empty(); }
int Row::line() const { return table_->lines_[index_]; }

bool Where::holds(const Row& row) const {
  const std::string_view cell = row.text(column);
  for (const std::string& value : values)
    if (cell == value) return true;
  return false;
}

Where parse_where(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw InputError(fmt::format("--where {}: expected column=value[,value]", text));
  Where where{text.substr(0, equals), {}};
  for (std::size_t at = equals + 1; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    if (comma == at)
      throw InputError(fmt::format("--where {}: an empty value, expected column=value[,value]", text));
    where.values.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return where;
}

std::uint64_t stable_hash(std::string_view text) {
  // FNV-1a, then the finaliser of splitmix64: FNV alone leaves the top bit of short keys badly mixed.
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}

}  // namespace tessera
