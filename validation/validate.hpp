// Predictions against a table of measurements: errors overall, by group, and the worst rows with their terms.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "validation/kernels.hpp"
#include "validation/statistics.hpp"

namespace tessera {

struct ValidateOptions {
  std::vector<Where> where;  // all must hold
  bool flagged_too = false;
  std::size_t worst = 10;
  Cost cost = Cost::roofline;  // table: each row is predicted by the rows of other folds, all of them unseen
  int folds = 5;               // of shapes, by hash; table only
  std::vector<std::string> fold_by;  // columns whose values decide the fold together; empty: the whole shape
  std::size_t sample = 0;  // about this many of the usable rows, chosen by hash of their shape; 0: all
};

struct WorstRow {
  std::string file;
  int line = 0;
  std::string shape;
  double measured_us = 0;
  OpTime predicted;
};

struct ValidationReport {
  std::string kernel, gpu;
  std::size_t rows = 0;         // in the tables, after --where
  std::size_t usable = 0;       // that a prediction can be compared with, sampled or not
  std::size_t flagged = 0;      // left out for their flag
  std::size_t unsupported = 0;  // of implementations the model, or of kinds the table, does not hold
  ErrorSummary used;
  ErrorSummary in_sample;     // shapes of the table and half the parameters were fitted on
  ErrorSummary held_out;      // the other shapes, and every row of other tables
  ErrorSummary out_of_range;  // outside the fitted range of sizes; in neither of the two above
  std::map<std::string, ErrorSummary> held_out_by_dtype;
  std::map<std::string, ErrorSummary> groups;  // "kernel_source=..", "dtype=..", "regime=.."
  std::vector<WorstRow> worst;                 // by |log(predicted / measured)|, worst first
};

// The tables were measured on an idle card, so predictions use its boost clock.
ValidationReport validate(const KernelValidator& kernel, Gpu gpu, const std::vector<MeasurementTable>& tables,
                          const ValidateOptions& options = {});

std::string to_json(const ValidationReport& report);
std::string to_text(const ValidationReport& report);

}  // namespace tessera
