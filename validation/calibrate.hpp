// Fits a card's kernel behaviour to tables of measurements and says in each section how it was done.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "validation/kernels.hpp"
#include "validation/provenance.hpp"
#include "validation/statistics.hpp"

namespace tessera {

struct Provenance {
  std::string date;    // of the fit
  std::string origin;  // who measured the tables, and their licence; may be empty
};

struct CalibrationNote {
  std::string kernel;
  std::string text;  // what was fitted to, errors on rows not used, date: goes into the section's source
  std::vector<std::string> at_bound;  // parameters held by the end of their range
  std::vector<Inseparable> inseparable;
  std::vector<std::string> undetermined;  // parameters these rows say little about
  std::map<std::string, ErrorSummary> cross_validated,
      held_out;                    // by data type; empty: not done, no such rows
  std::vector<FitRecord> records;  // of each parameter; tables fitted together have the same ones
};

struct CalibrateOptions {
  int folds = 5;  // of the fitted shapes, each predicted by a fit to the others; 0: none
  // A card already described: its figures, carried over by published numbers, are the starts and stand beside
  // the rows as prior knowledge. All rows are then fitted on, as there are few; without, one half of the
  // shapes is, and the other half tests.
  const Gpu* prior = nullptr;
};

// Fits, in place, every kernel that has a table here; kernels with one set of parameters (prefill and decode
// attention) are fitted together. One note per table, in their order. Throws InputError, with the
// measurements that are missing, when rows of the regime that determines a parameter are missing, no prior
// gives it, and it is not merely inseparable from another; when a table is named twice; and when the fit ends
// at most of its bounds or far off rows it has not seen, as it does for another card's times or other units.
std::vector<CalibrationNote> calibrate(Gpu& gpu, const std::vector<MeasurementTable>& tables,
                                       const Provenance& provenance, Cost cost = Cost::roofline,
                                       const CalibrateOptions& options = {});

// Sections are shared by kernels: takes away what one kernel's fit said of itself, keeps the others' notes.
void drop_notes(std::string& source, const std::string& kernel);
void add_note(std::string& source, const std::string& text);

// Takes a section ("moe" or "collectives") of another card, rescaled; throws InputError for another name.
void borrow(Gpu& gpu, const std::string& section, const Gpu& from);

}  // namespace tessera
