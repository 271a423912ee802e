// The kernels whose measurements can be validated and calibrated, one line each in kernels.cpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/cost/kernel_table.hpp"
#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"
#include "validation/fit_knobs.hpp"
#include "validation/measurement.hpp"

namespace tessera {

struct KernelValidator {
  const char* name;  // --kernel
  // Whether a table holds this kernel, by its columns (and first rows where two kernels share columns).
  bool (*recognises)(const MeasurementTable&);
  std::vector<std::string> columns;  // that the table must have
  bool (*covers)(const Row&);  // our model describes this row's implementation; others are counted, not used
  bool (*fitted)(const Row&);  // rows of this implementation are what calibrate fits on
  bool (*same_kernel)(const Gpu&, const Row&) = nullptr;  // the card runs it; null: every card does
  OpTime (*predict)(const Gpu&, const Row&);
  std::string (*shape_key)(const Row&);  // decides calibration or held-out half
  std::string (*dtype)(const Row&);
  std::string (*regime)(const Row&);
  // Fits the kernel's section of gpu.kernels on these rows (the calibration half, covered and fitted ones).
  // Two kernels with one function share their parameters and are fitted on both tables together.
  KernelFit (*calibrate)(Gpu& gpu, std::span<const Row> rows, const FitControl& control);
  const char* section;                       // where the parameters live in the behaviour file
  std::string& (*source)(KernelBehaviour&);  // where the section says what it was fitted to
  // Cost::table: puts a row into a table, and asks a table for a row. An empty answer: the table holds
  // nothing of that kind.
  void (*add_to_table)(KernelTable&, const Row&) = nullptr;
  std::optional<OpTime> (*look_up)(const KernelTable&, const Gpu&, const Row&) = nullptr;
};

// Which source predicts: the closed forms, the tile grain for the kernels it simulates, or measured rows
// interpolated (each row from rows of other shapes).
enum class Cost { roofline, tile, table };
Cost parse_cost(const std::string& name);  // "auto" is roofline; throws InputError with a suggestion
const char* name_of(Cost cost);

std::span<const KernelValidator> kernel_validators(Cost cost = Cost::roofline);
// Both throw InputError, the first with a suggestion.
const KernelValidator& kernel_validator(const std::string& name, Cost cost = Cost::roofline);
const KernelValidator& kernel_of(const MeasurementTable& table, Cost cost = Cost::roofline);

}  // namespace tessera
