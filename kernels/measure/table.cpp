#include "kernels/measure/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/yaml.hpp"

namespace tessera::measure {
namespace {

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == ',')
      cells.emplace_back();
    else if (c != '\r')
      cells.back() += c;
  }
  return cells;
}

// Commas, quotes and line ends would break a plain table.
std::string plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == ',' || c == '"' || c == '\n' || c == '\r'; }, ' ');
  return text;
}

// "NVIDIA H100 80GB HBM3" -> "nvidia-h100-80gb-hbm3"
std::string slug(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9', small = c >= 'a' && c <= 'z', large = c >= 'A' && c <= 'Z';
    if (digit || small || large)
      text += large ? static_cast<char>(c - 'A' + 'a') : c;
    else if (!text.empty() && text.back() != '-')
      text += '-';
  }
  while (text.ends_with('-')) text.pop_back();
  return text.empty() ? "unnamed" : text;
}

std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.6g}", value) : "inf"; }

// The path, its folder made.
const std::string& with_folder(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;  // opening the file says what is wrong
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  return path;
}

}  // namespace

std::vector<std::string> table_columns(const Bench& bench) {
  std::vector<std::string> columns{"kernel_source"};
  columns.insert(columns.end(), bench.columns.begin(), bench.columns.end());
  columns.insert(columns.end(), {"latency_ms", "flag"});
  columns.insert(columns.end(), bench.results.begin(), bench.results.end());
  columns.insert(columns.end(), {"p10_ms", "p90_ms", "repeats", "copies", "copies_asked", "error", "device",
                                 "driver", "sm_clock_mhz", "memory_clock_mhz", "date", "commit"});
  return columns;
}

ResultTable::ResultTable(const std::string& path, const Bench& bench, bool resume, const Origin& origin)
    : path_(path), bench_(&bench), lock_(with_folder(path), !resume) {
  std::string kept = read_file(path);
  const std::size_t size = kept.size();
  kept.resize(kept.rfind('\n') == std::string::npos ? 0 : kept.rfind('\n') + 1);
  take(kept, origin);
  // Rows that stand stay where they are: written anew, a full disk would lose them.
  std::error_code failed;
  if (kept.size() < size) std::filesystem::resize_file(path, kept.size(), failed);
  out_.open(path, std::ios::binary | std::ios::app);
  if (kept.empty()) out_ << join(table_columns(bench), ",") << "\n" << std::flush;
  if (failed || !out_) throw InputError(path + ": cannot be written");
}

void ResultTable::take(const std::string& text, const Origin& origin) {
  const std::vector<std::string> columns = table_columns(*bench_);
  const auto at = [&](const char* name) {
    return static_cast<std::size_t>(std::find(columns.begin(), columns.end(), name) - columns.begin());
  };
  int line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::vector<std::string> cells = cells_of(text.substr(begin, end - begin));
    begin = end + 1, ++line;
    if (line == 1) {
      if (cells != columns)
        throw InputError(Location{path_, 1, 1}, fmt::format("is not a table of {} by this program, expected "
                                                            "the header {}",
                                                            bench_->kernel, join(columns, ",")));
      continue;
    }
    if (cells.size() != columns.size())
      throw InputError(Location{path_, line, 0},
                       fmt::format("{} cells, expected {}", cells.size(), columns.size()));
    if (cells[at("device")] != plain(origin.device))
      throw InputError(Location{path_, line, 0},
                       fmt::format("device: measured on '{}', this is '{}', expected one card a table",
                                   cells[at("device")], plain(origin.device)));
    const std::string& copies = cells[at("copies_asked")];
    if (copies.empty() || copies.size() > 6 || copies.find_first_not_of("0123456789") != std::string::npos)
      throw InputError(Location{path_, line, 0},
                       fmt::format("copies_asked: '{}' is not a count, expected a number", copies));
    Point point{.bench = bench_, .cells = {}, .copies = std::stoll(copies)};
    point.cells.assign(cells.begin() + 1, cells.begin() + 1 + std::ssize(bench_->columns));
    if (cells[at("flag")].empty()) done_.insert(point.key());
  }
}

void ResultTable::add(const Point& point, const Sample& sample, const Origin& origin) {
  TESSERA_CHECK(point.bench == bench_ && sample.results.size() == bench_->results.size(),
                "a row has its table's cells");
  std::vector<std::string> cells{plain(sample.source)};
  cells.insert(cells.end(), point.cells.begin(), point.cells.end());
  cells.push_back(number(sample.median_ms()));
  cells.emplace_back(sample.wrong(*bench_) ? "wrong_result" : "");
  for (const double result : sample.results) cells.push_back(number(result));
  for (const double q : {0.1, 0.9}) cells.push_back(number(sample.quantile_ms(q)));
  cells.push_back(std::to_string(sample.times_ms.size()));
  for (const std::int64_t copies : {sample.copies, point.copies}) cells.push_back(std::to_string(copies));
  cells.push_back(sample.error ? number(*sample.error) : "");
  for (const std::string& text : {origin.device, origin.driver}) cells.push_back(plain(text));
  for (const double mhz : {origin.sm_clock_mhz, origin.memory_clock_mhz}) cells.push_back(number(mhz));
  for (const std::string& text : {origin.date, origin.commit}) cells.push_back(plain(text));
  out_ << join(cells, ",") << "\n" << std::flush;
  if (!out_) throw RunError(path_ + ": cannot be written");
  done_.insert(point.key());
}

std::string table_path(const std::string& out, const std::string& device, const std::string& kernel,
                       bool alone) {
  if (out.ends_with('/')) return out + slug(device) + "/" + kernel + ".csv";
  if (alone) return out;
  const std::size_t dot = out.ends_with(".csv") ? out.size() - 4 : out.size();
  return out.substr(0, dot) + "_" + kernel + ".csv";
}

}  // namespace tessera::measure
