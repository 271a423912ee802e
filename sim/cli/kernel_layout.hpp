// The attention problem of one layer of a model, from the KvLayout and operators its steps are priced with.
#pragma once

#include <string>

#include "kernels/tiles/attention_problem.hpp"

namespace tessera {

struct LayoutChoice {
  std::string model, shape = "base", group;
  std::int64_t tp = 1;
};

// Heads, widths, window, entry types and the entries of every sequence's keys; what a title says of it.
// Throws InputError if the group is not one, not named where there are several, or has no tile program.
std::string take_layout(AttentionProblem& problem, const LayoutChoice& choice, const std::string& kv_dtype);

}  // namespace tessera
