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

// A table's usable rows in their two halves.
struct Halves {
  const KernelValidator* kernel;
  const MeasurementTable* table;
  std::vector<Row> seen, held_out;
};

Halves halves_of(const MeasurementTable& table, Cost cost) {
  Halves h{&kernel_of(table, cost), &table, {}, {}};
  table.need_columns(h.kernel->columns);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row = table.row(i);
    if (row.flagged() || !h.kernel->covers(row) || !h.kernel->fitted(row)) continue;
    (is_held_out(h.kernel->shape_key(row)) ? h.held_out : h.seen).push_back(row);
  }
  if (h.seen.empty() || h.held_out.empty())
    throw InputError(Location{table.file(), 0, 0},
                     fmt::format("{} usable {} rows, expected at least one in each half of the shapes",
                                 h.seen.size() + h.held_out.size(), h.kernel->name));
  return h;
}

CalibrationNote note_of(const Halves& h, const Gpu& gpu, const Provenance& provenance,
                        const std::vector<std::string>& at_bound) {
  GroupedErrors errors;
  for (const Row& row : h.held_out)
    errors.add(h.kernel->dtype(row), {h.kernel->predict(gpu, row).total, row.latency_us()});
  CalibrationNote note{h.kernel->name, "", at_bound};
  note.text = fmt::format("{}: {}{}, fitted on {} rows", h.kernel->name,
                          provenance.origin.empty() ? "" : provenance.origin + " ",
                          std::filesystem::path(h.table->file()).filename().string(), h.seen.size());
  for (const auto& [dtype, s] : errors.summaries())
    note.text += fmt::format("; held out {} {} rows: median {:.1f} %, p90 {:.1f} %, bias {:+.1f} %", s.rows,
                             dtype, s.median_ape, s.p90_ape, s.bias);
  if (!at_bound.empty()) note.text += "; at a bound of their range: " + join(at_bound, ", ");
  note.text += "; " + provenance.date;
  return note;
}

}  // namespace

std::vector<CalibrationNote> calibrate(Gpu& gpu, const std::vector<MeasurementTable>& tables,
                                       const Provenance& provenance, Cost cost) {
  std::vector<Halves> all;
  for (const MeasurementTable& table : tables) all.push_back(halves_of(table, cost));
  // Tables come from an idle card; sustained clocks are applied in serving only.
  const double sustained = gpu.kernels->sustained_clock_fraction;
  gpu.kernels->sustained_clock_fraction = 1;
  std::vector<CalibrationNote> notes(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<std::size_t> together;
    for (std::size_t j = 0; j < all.size(); ++j)
      if (all[j].kernel->calibrate == all[i].kernel->calibrate) together.push_back(j);
    if (together.front() < i) continue;  // fitted with an earlier table
    std::vector<Row> rows;
    for (const std::size_t j : together) rows.insert(rows.end(), all[j].seen.begin(), all[j].seen.end());
    const std::vector<std::string> at_bound = all[i].kernel->calibrate(gpu, rows);
    for (const std::size_t j : together) {
      notes[j] = note_of(all[j], gpu, provenance, at_bound);
      put_note(all[j].kernel->source(gpu.kernels.value), all[j].kernel->name, notes[j].text);
    }
  }
  gpu.kernels->sustained_clock_fraction = sustained;
  return notes;
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
