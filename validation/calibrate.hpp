// Fits a card's kernel behaviour to tables of measurements and says in each section how it was done.
#pragma once

#include <string>
#include <vector>

#include "validation/kernels.hpp"

namespace tessera {

struct Provenance {
  std::string date;    // of the fit
  std::string origin;  // who measured the tables, and their licence; may be empty
};

struct CalibrationNote {
  std::string kernel;
  std::string text;  // what was fitted to, held-out errors, date: goes into the section's source
  std::vector<std::string> at_bound;  // parameters the data did not determine
};

// Fits, in place, every kernel that has a table here on the calibration half of its usable rows; kernels with
// one set of parameters (prefill and decode attention) are fitted together. One note per table, in their
// order.
std::vector<CalibrationNote> calibrate(Gpu& gpu, const std::vector<MeasurementTable>& tables,
                                       const Provenance& provenance, Cost cost = Cost::roofline);

// Sections of `behaviour` are shared by kernels: replaces the note of one kernel, keeps those of others.
void put_note(std::string& source, const std::string& kernel, const std::string& text);

// Takes a section ("moe" or "collectives") of another card, rescaled; throws InputError for another name.
void borrow(Gpu& gpu, const std::string& section, const Gpu& from);

}  // namespace tessera
