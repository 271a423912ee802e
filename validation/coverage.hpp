// Which rows determine a parameter, and whether a table has any: what calibrate asks for when it refuses.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "validation/measurement.hpp"

namespace tessera {

// "no row with m = 1: gemv_serial_ns_per_k not determined"; "" where the table has enough such rows, which
// then say that the parameter does not matter on this card. `section` and `parameter` as in
// KernelValidator::section and KernelFit.
std::string missing_rows(const std::string& section, const std::string& parameter, std::span<const Row> rows);

// The parameters of a section that have an entry; a test holds them against the knobs.
std::vector<std::string> covered_parameters(const std::string& section);

}  // namespace tessera
