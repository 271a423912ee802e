#include "validation/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "models/base/text.hpp"
#include "models/hardware/rescale.hpp"
#include "validation/coverage.hpp"
#include "validation/folds.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

constexpr const char* kSeparator = " | ";
constexpr std::size_t kMostCrossValidated = 5000;  // rows of a table whose unseen errors are looked at

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

// A table's usable rows: those to fit and those kept to test.
struct Portions {
  const KernelValidator* kernel;
  const MeasurementTable* table;
  std::vector<Row> seen, held_out;
};

Portions portions_of(const Gpu& gpu, const MeasurementTable& table, Cost cost, bool all) {
  Portions h{&kernel_of(table, cost), &table, {}, {}};
  table.need_columns(h.kernel->columns);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row = table.row(i);
    if (row.flagged() || !h.kernel->covers(row) || !h.kernel->fitted(row)) continue;
    if (h.kernel->same_kernel != nullptr && !h.kernel->same_kernel(gpu, row)) continue;
    (!all && is_held_out(h.kernel->shape_key(row)) ? h.held_out : h.seen).push_back(row);
  }
  if (h.seen.empty() || (!all && h.held_out.empty()))
    throw InputError(Location{table.file(), 0, 0},
                     fmt::format("{} usable {} rows, expected at least one in each half of the shapes (with "
                                 "--prior CARD all rows are fitted on)",
                                 h.seen.size() + h.held_out.size(), h.kernel->name));
  return h;
}

std::string file_name(const MeasurementTable& table) {
  return std::filesystem::path(table.file()).filename().string();
}

// Another card's attention figures, less those that only its generation of FlashAttention has.
void take_attention(AttentionParams& to, const AttentionParams& from) {
  const std::string kernel = to.kernel;
  to = from;
  to.kernel = kernel;
  if (from.kernel == kernel) return;
  const AttentionRates none;
  to.fp8.reset();
  to.rates.combine_per_split_us = none.combine_per_split_us;
  to.rates.heat = none.heat;
  to.rates.mask_us = none.mask_us;
  to.rates.prefill_launch_us = none.prefill_launch_us;
}

// The section of another card that a kernel's parameters are in.
void take_section(KernelBehaviour& to, const KernelBehaviour& from, const std::string& section) {
  if (section == "gemm") to.gemm = from.gemm;
  if (section == "attention") take_attention(to.attention, from.attention);
  if (section == "moe") to.moe = from.moe;
  if (section == "collectives") to.collectives = from.collectives;
  if (section == "tile.gemm") to.tile.gemm = from.tile.gemm;
  if (section == "tile.attention") take_attention(to.tile.attention, from.tile.attention);
}

// The tables one fit sees, and what it found.
struct Group {
  std::vector<std::size_t> tables;
  const KernelValidator* kernel;
  std::vector<Row> rows;
  KernelFit fit;
};

// The same rows twice would count as two measurements and narrow every interval.
void refuse_repeated(const std::vector<MeasurementTable>& tables) {
  for (std::size_t i = 0; i < tables.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (tables[i].same_rows(tables[j]))
        throw InputError(Location{tables[i].file(), 0, 0},
                         fmt::format("holds the rows of {}, expected each table once", tables[j].file()));
}

// A fit that runs into most of its bounds, or is this far off on rows it has not seen, describes another card
// or another unit; empty where it does not.
std::string nonsense(const Group& group, const Gpu& gpu, const std::vector<Portions>& all) {
  const std::size_t held = group.fit.at_bound().size(), parameters = group.fit.parameters.size();
  std::vector<Prediction> unseen;
  for (const std::size_t j : group.tables)
    for (const Row& row : all[j].held_out)
      unseen.push_back({group.kernel->predict(gpu, row).total, row.latency_us()});
  constexpr double kHopeless = 50;  // %, median; the worst shipped fit has 18
  const double median = summarise(unseen).median_ape;
  if (2 * held <= parameters && !(median > kHopeless)) return "";
  return fmt::format(
      "{} of {} parameters end at a bound of their plausible range and rows not fitted are {:.0f} % off in "
      "the "
      "median, expected times in ms of this card",
      held, parameters, median);
}

// That are no pair's: of a pair one may be anything, as the other makes up for it.
std::vector<std::string> undetermined(const KernelFit& fit) {
  std::vector<std::string> names;
  for (const FittedParameter& p : fit.parameters)
    if (p.unknown >= FittedParameter::kUndetermined && !fit.in_pair(p.name)) names.push_back(p.name);
  return names;
}

// `doubt`: what nonsense() says.
void refuse_undetermined(const Group& group, const MeasurementTable& table, const std::string& doubt) {
  std::string problem;
  for (const std::string& name : undetermined(group.fit))
    if (const std::string rows = missing_rows(group.kernel->section, name, group.rows); !rows.empty())
      problem += "\n  " + rows;
  if (problem.empty() && doubt.empty()) return;
  if (problem.empty()) throw InputError(Location{table.file(), 0, 0}, doubt);
  if (!doubt.empty()) problem += "\n  " + doubt;
  throw InputError(
      Location{table.file(), 0, 0},
      fmt::format("{} {} rows leave parameters undetermined, expected further rows or --prior CARD, "
                  "a described card whose figures stand in:{}",
                  group.rows.size(), group.kernel->name, problem));
}

// Errors of each row of `portions` under a fit that has not seen its fold, by data type.
std::map<std::string, ErrorSummary> cross_validate(const Gpu& start, const Group& group,
                                                   const std::vector<Portions>& all, std::size_t table,
                                                   std::vector<Gpu>& fits, int folds,
                                                   const FitControl& control) {
  if (fits.empty())
    for (int fold = 0; fold < folds; ++fold) {
      std::vector<Row> others;
      for (const std::size_t j : group.tables)
        for (const Row& row : all[j].seen)
          if (fold_of(all[j].kernel->shape_key(row), folds) != fold) others.push_back(row);
      fits.push_back(start);
      if (!others.empty()) group.kernel->calibrate(fits.back(), others, control);
    }
  GroupedErrors errors;
  const Portions& p = all[table];
  const std::size_t stride = std::max<std::size_t>(1, p.seen.size() / kMostCrossValidated);
  for (std::size_t i = 0; i < p.seen.size(); i += stride) {
    const Row& row = p.seen[i];
    const Gpu& unseen_by = fits[static_cast<std::size_t>(fold_of(p.kernel->shape_key(row), folds))];
    errors.add(p.kernel->dtype(row), {p.kernel->predict(unseen_by, row).total, row.latency_us()});
  }
  return errors.summaries();
}

std::string errors_text(const char* kind, const std::map<std::string, ErrorSummary>& errors) {
  std::string text;
  for (const auto& [dtype, s] : errors)
    text += fmt::format("; {} {} {} rows: median {:.1f} %, p90 {:.1f} %, bias {:+.1f} %", kind, s.rows, dtype,
                        s.median_ape, s.p90_ape, s.bias);
  return text;
}

CalibrationNote note_of(const Portions& h, const Gpu& gpu, const Group& group, const Provenance& provenance,
                        const CalibrateOptions& options,
                        std::map<std::string, ErrorSummary> cross_validated) {
  GroupedErrors errors;
  for (const Row& row : h.held_out)
    errors.add(h.kernel->dtype(row), {h.kernel->predict(gpu, row).total, row.latency_us()});
  CalibrationNote note{h.kernel->name,        "", group.fit.at_bound(),
                       group.fit.inseparable, {}, std::move(cross_validated),
                       errors.summaries(),    {}};
  note.undetermined = undetermined(group.fit);
  note.text = fmt::format("{}: {}{}, fitted on {}{} rows", h.kernel->name,
                          provenance.origin.empty() ? "" : provenance.origin + " ", file_name(*h.table),
                          options.prior != nullptr ? "all " : "",
                          group.fit.rows < group.rows.size()
                              ? fmt::format("{} of {}", group.fit.rows, group.rows.size())
                              : std::to_string(group.rows.size()));
  if (!note.cross_validated.empty())
    note.text += errors_text(fmt::format("cross-validated over {} folds", options.folds).c_str(),
                             note.cross_validated);
  note.text += errors_text("held out", note.held_out);
  if (!note.at_bound.empty()) note.text += "; at a bound of their range: " + join(note.at_bound, ", ");
  std::vector<std::string> pairs;
  for (const Inseparable& pair : note.inseparable)
    pairs.push_back(fmt::format("{} with {} ({:+.2f})", pair.a, pair.b, pair.correlation));
  if (!pairs.empty()) note.text += "; cannot be told apart: " + join(pairs, ", ");
  if (!note.undetermined.empty()) note.text += "; not determined: " + join(note.undetermined, ", ");
  if (options.prior != nullptr) note.text += fmt::format("; prior: {} rescaled", options.prior->name);
  note.text += "; " + provenance.date;
  return note;
}

std::vector<FitRecord> records_of(const Group& group, const std::vector<Portions>& all,
                                  const Provenance& provenance, const CalibrateOptions& options) {
  std::vector<std::string> files;
  for (const std::size_t j : group.tables) files.push_back(file_name(*all[j].table));
  std::string source =
      fmt::format("{} rows of {}, {}", group.fit.rows, join(files, " and "), provenance.date);
  if (options.prior != nullptr) source += "; prior: " + options.prior->name + " rescaled";
  std::vector<FitRecord> records;
  for (const FittedParameter& p : group.fit.parameters) {
    const char* how = p.at_bound                  ? "bound"
                      : group.fit.in_pair(p.name) ? "pair"
                      : p.determined()            ? "rows"
                                                  : "prior";
    records.push_back(
        {std::string(group.kernel->section) + "." + p.name, p.value, p.low, p.high, how, source});
  }
  return records;
}

}  // namespace

std::vector<CalibrationNote> calibrate(Gpu& gpu, const std::vector<MeasurementTable>& tables,
                                       const Provenance& provenance, Cost cost,
                                       const CalibrateOptions& options) {
  if (cost == Cost::table) throw InputError("--cost table: has no parameters, expected roofline or tile");
  if (options.folds < 0 || options.folds == 1 || options.folds > 100)
    throw InputError(fmt::format("--folds {}: out of range, expected 0 or 2 to 100", options.folds));
  std::vector<Portions> all;
  for (const MeasurementTable& table : tables)
    all.push_back(portions_of(gpu, table, cost, options.prior != nullptr));
  refuse_repeated(tables);
  // Tables come from an idle card; sustained clocks are applied in serving only.
  const double sustained = gpu.kernels->sustained_clock_fraction;
  gpu.kernels->sustained_clock_fraction = 1;
  std::vector<CalibrationNote> notes(all.size());
  const FitControl control{.prior = options.prior != nullptr, .light = false};
  const FitControl again{.prior = options.prior != nullptr, .light = true};
  for (std::size_t i = 0; i < all.size(); ++i) {
    Group group;
    group.kernel = all[i].kernel;
    for (std::size_t j = 0; j < all.size(); ++j)
      if (all[j].kernel->calibrate == all[i].kernel->calibrate) group.tables.push_back(j);
    if (group.tables.front() < i) continue;  // fitted with an earlier table
    for (const std::size_t j : group.tables)
      group.rows.insert(group.rows.end(), all[j].seen.begin(), all[j].seen.end());
    if (options.prior != nullptr)
      take_section(gpu.kernels.value, rescaled(*options.prior->kernels, *options.prior, gpu),
                   group.kernel->section);
    const Gpu before = gpu;
    group.fit = group.kernel->calibrate(gpu, group.rows, control);
    if (options.prior == nullptr) {
      refuse_undetermined(group, *all[i].table, nonsense(group, gpu, all));
    }
    for (const std::size_t j : group.tables)
      drop_notes(all[j].kernel->source(gpu.kernels.value), all[j].kernel->name);
    std::vector<Gpu> fits;
    for (const std::size_t j : group.tables) {
      // A prior must not have seen the fold; without one the start is only a start.
      const Gpu& start = options.prior != nullptr ? before : gpu;
      std::map<std::string, ErrorSummary> unseen;
      if (options.folds > 0) unseen = cross_validate(start, group, all, j, fits, options.folds, again);
      notes[j] = note_of(all[j], gpu, group, provenance, options, std::move(unseen));
      std::string& source = all[j].kernel->source(gpu.kernels.value);
      if (source.compare(0, 9, "estimated") == 0) source.clear();
      add_note(source, notes[j].text);
    }
    for (const std::size_t j : group.tables) notes[j].records = records_of(group, all, provenance, options);
  }
  gpu.kernels->sustained_clock_fraction = sustained;
  return notes;
}

void drop_notes(std::string& source, const std::string& kernel) {
  std::vector<std::string> notes;
  for (std::string& part : split(source, kSeparator))
    if (part.compare(0, kernel.size() + 1, kernel + ":") != 0) notes.push_back(std::move(part));
  source = join(notes, kSeparator);
}

void add_note(std::string& source, const std::string& text) {
  source += (source.empty() ? "" : kSeparator) + text;
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
