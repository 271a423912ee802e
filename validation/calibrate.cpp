#include "validation/calibrate.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "models/base/text.hpp"
#include "models/hardware/rescale.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

constexpr const char* kSeparator = " | ";

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + separator.size();
  }
  return parts;
}

}  // namespace

CalibrationNote calibrate(const KernelValidator& kernel, Gpu& gpu, const MeasurementTable& table,
                          const std::string& date) {
  table.need_columns(kernel.columns);
  std::vector<Row> seen, held_out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row = table.row(i);
    if (row.flagged() || !kernel.covers(row) || !kernel.fitted(row)) continue;
    (is_held_out(kernel.shape_key(row)) ? held_out : seen).push_back(row);
  }
  if (seen.empty() || held_out.empty())
    throw InputError(Location{table.file(), 0, 0},
                     fmt::format("{} usable {} rows, expected at least one in each half of the shapes",
                                 seen.size() + held_out.size(), kernel.name));
  // Tables come from an idle card; sustained clocks are applied in serving only.
  const double sustained = gpu.kernels->sustained_clock_fraction;
  gpu.kernels->sustained_clock_fraction = 1;
  CalibrationNote note{kernel.name, "", kernel.calibrate(gpu, seen)};
  GroupedErrors errors;
  for (const Row& row : held_out)
    errors.add(kernel.dtype(row), kernel.predict(gpu, row).total / row.latency_us());
  gpu.kernels->sustained_clock_fraction = sustained;

  note.text = fmt::format("{}: {}, fitted on {} rows", kernel.name,
                          std::filesystem::path(table.file()).filename().string(), seen.size());
  for (const auto& [dtype, s] : errors.summaries())
    note.text += fmt::format("; held out {} {} rows: median {:.1f} %, p90 {:.1f} %, bias {:+.1f} %", s.rows,
                             dtype, s.median_ape, s.p90_ape, s.bias);
  note.text += "; " + date;
  put_note(kernel.source(gpu.kernels.value), kernel.name, note.text);
  return note;
}

void put_note(std::string& source, const std::string& kernel, const std::string& text) {
  std::vector<std::string> notes;
  for (std::string& part : split(source, kSeparator))
    if (part.compare(0, kernel.size() + 1, kernel + ":") != 0) notes.push_back(std::move(part));
  notes.push_back(text);
  source = join(notes, kSeparator);
}

void borrow(Gpu& gpu, const std::string& section, const Gpu& from) {
  const KernelBehaviour other = rescaled(*from.kernels, from, gpu);
  if (section == "moe")
    gpu.kernels->moe = other.moe;
  else if (section == "collectives")
    gpu.kernels->collectives = other.collectives;
  else
    throw InputError(fmt::format("--borrow {}: not known, expected moe or collectives{}", section,
                                 did_you_mean(section, {"moe", "collectives"})));
}

}  // namespace tessera
