// Host times of engine profiles from measured serving runs.
//
// For every profile of a set, the constants that only whole runs show - host work of a step (base, per
// sequence, per tensor-parallel rank) and, where TTFT is measured, the least duration of a step with prefill
// launched eagerly and the time in front of the engine - are chosen so that log(predicted / measured) of the
// runs marked `fitted` is least (robust squares, fit.hpp). Every other figure stays as described, and
// held-out runs are not looked at. A constant the runs cannot tell from another shows as one at a bound of
// its range.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "validation/runs/run_set.hpp"

namespace tessera {

struct HostFit {
  std::string profile;
  std::vector<std::pair<std::string, double>> values;  // by key of the profile's file
  std::vector<std::string> at_bound;
  std::size_t runs = 0;
};

// Fits every profile that has runs to be fitted on and puts the values into all runs of the set.
// Throws InputError if no run may be fitted on, or a profile has fewer of them than constants.
std::vector<HostFit> fit_host_times(RunSet& set);

// The text of a profile's file with the fitted values and what they were fitted on; all else untouched.
// Throws InputError if a key is not on a line of its own.
std::string with_host_times(const std::string& yaml, const HostFit& fit, const std::string& host_source);

}  // namespace tessera
