#include "traces/csv.hpp"

#include <algorithm>
#include <cstring>

#include "models/base/text.hpp"
#include "traces/request.hpp"

namespace tessera {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// The header's column that was probably meant by `name`: other letter case, or a near spelling.
std::string probably_meant(const std::string& name, const std::vector<std::string>& header) {
  for (const std::string& found : header)
    if (lower(found) == lower(name)) return ", is '" + found + "' meant?";
  const std::string near = nearest(name, header);
  return near.empty() ? "" : ", is '" + near + "' meant?";
}

}  // namespace

std::vector<std::string> header_columns(std::string_view line) {
  std::vector<std::string> columns;
  while (true) {
    const std::size_t comma = line.find(',');
    std::string_view name = trim(line.substr(0, comma));
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
    columns.emplace_back(name);
    if (comma == std::string_view::npos) return columns;
    line.remove_prefix(comma + 1);
  }
}

std::string bad_tokens(std::string_view text, const char* problem) {
  return describe(text, problem != nullptr ? problem : "is no request") +
         ", expected a whole number of tokens from 1 to 100,000,000";
}

CsvTable::CsvTable(const Source& source, std::vector<std::string> required, std::vector<std::string> optional)
    : lines_(source), names_(std::move(required)) {
  const std::size_t count = names_.size();
  std::move(optional.begin(), optional.end(), std::back_inserter(names_));
  read_header(count);
}

void CsvTable::read_header(std::size_t required) {
  std::string_view line;
  do {
    if (!lines_.next(line))
      throw InputError({lines_.name(), 1, 0}, "the file is empty, expected the columns " +
                                                  join({names_.begin(), names_.begin() + required}, ","));
  } while (line.empty() || line.front() == '#');
  header_ = header_columns(line);
  for (std::size_t i = 0; i < header_.size(); ++i) {
    if (std::find(header_.begin(), header_.begin() + i, header_[i]) != header_.begin() + i)
      throw InputError(at(), header_[i] + ": this column stands twice in the header, expected once");
    if (std::find(names_.begin(), names_.end(), header_[i]) == names_.end()) ignored_.push_back(header_[i]);
  }
  for (std::size_t k = 0; k < names_.size(); ++k) {
    const auto found = std::find(header_.begin(), header_.end(), names_[k]);
    place_.push_back(found == header_.end() ? -1 : static_cast<int>(found - header_.begin()));
    if (k < required && place_[k] < 0)
      throw InputError(at(), names_[k] + ": this column is missing, expected " +
                                 join({names_.begin(), names_.begin() + required}, ",") +
                                 probably_meant(names_[k], ignored_));
  }
  unquoted_.resize(header_.size());
}

bool CsvTable::next() {
  std::string_view line;
  do {
    if (!lines_.next(line)) return false;
  } while (line.empty());
  fields_.clear();
  if (std::memchr(line.data(), '"', line.size()) == nullptr)
    split(line);
  else
    split_quoted(line);
  if (fields_.size() != header_.size())
    throw InputError(at(), "the row has " + std::to_string(fields_.size()) + " fields, expected " +
                               std::to_string(header_.size()) + " as in the header");
  return true;
}

void CsvTable::split(std::string_view line) {
  const char* start = line.data();
  const char* const end = start + line.size();
  while (true) {
    const void* comma =
        start == end ? nullptr : std::memchr(start, ',', static_cast<std::size_t>(end - start));
    const char* stop = comma == nullptr ? end : static_cast<const char*>(comma);
    fields_.push_back(trim({start, static_cast<std::size_t>(stop - start)}));
    if (stop == end) return;
    start = stop + 1;
  }
}

void CsvTable::split_quoted(std::string_view line) {
  std::size_t i = 0;
  while (true) {
    std::size_t start = i;
    while (start < line.size() && line[start] == ' ') ++start;
    if (start == line.size() || line[start] != '"') {
      const std::size_t stop = std::min(line.find(',', i), line.size());
      fields_.push_back(trim(line.substr(i, stop - i)));
      i = stop;
    } else {
      std::string text;
      std::size_t k = start + 1;
      for (;; ++k) {
        if (k >= line.size())
          throw InputError(at(),
                           "a quoted field is not closed on its line, expected '\"' (line breaks inside "
                           "quotes are not supported)");
        if (line[k] != '"') {
          text += line[k];
        } else if (k + 1 < line.size() && line[k + 1] == '"') {
          text += '"';
          ++k;
        } else {
          break;
        }
      }
      i = k + 1;
      while (i < line.size() && line[i] == ' ') ++i;
      if (i < line.size() && line[i] != ',')
        throw InputError(at(), "text after a closing quote, expected ','");
      if (fields_.size() >= unquoted_.size())
        throw InputError(
            at(), "the row has more fields than the header, expected " + std::to_string(header_.size()));
      std::string& kept = unquoted_[fields_.size()];
      kept = std::move(text);
      fields_.push_back(kept);
    }
    if (i >= line.size()) return;
    ++i;  // the comma
  }
}

InputError CsvTable::error(std::size_t column, const std::string& problem) const {
  return InputError(at(), names_[column] + ": " + problem);
}

std::uint64_t CsvTable::integer(std::size_t column, std::uint64_t max) const {
  const auto value = parse_integer(field(column), max);
  if (value.problem != nullptr)
    throw error(column, describe(field(column), value.problem) + ", expected a whole number from 0 to " +
                            std::to_string(max));
  return value.value;
}

std::int32_t CsvTable::tokens(std::size_t column) const {
  const auto value = parse_integer(field(column), kMaxTokens);
  if (value.problem != nullptr || value.value == 0)
    throw error(column, bad_tokens(field(column), value.problem));
  return static_cast<std::int32_t>(value.value);
}

Instant CsvTable::duration(std::size_t column, int exponent) const {
  const auto value = parse_duration(field(column), exponent);
  if (value.problem != nullptr)
    throw error(column, describe(field(column), value.problem) + ", expected a time in seconds, at least 0");
  return value.value;
}

Instant CsvTable::timestamp(std::size_t column) const {
  const auto value = parse_timestamp(field(column));
  if (value.problem != nullptr)
    throw error(column, describe(field(column), value.problem) + ", expected YYYY-MM-DD HH:MM:SS.fraction");
  return value.value;
}

double CsvTable::decimal(std::size_t column) const {
  const auto value = parse_decimal(field(column));
  if (value.problem != nullptr)
    throw error(column, describe(field(column), value.problem) + ", expected a number, at least 0");
  return value.value;
}

}  // namespace tessera
