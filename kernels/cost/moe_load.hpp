// How many assignments the experts of the measured rank get.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cost/moe.hpp"

namespace tessera {

// Experts of one rank with their assignments, as groups of equal experts. Counts may be fractions: they are
// expectations over routings.
struct ExpertLoad {
  struct Group {
    double experts;
    double rows;  // assignments of each
  };
  std::vector<Group> groups;

  [[nodiscard]] double touched() const;            // experts with work
  [[nodiscard]] double rows() const;               // assignments on this rank
  [[nodiscard]] double padded_rows(int bm) const;  // each expert's rows rounded up to whole tiles
};

// Balanced: every expert the same, as far as assignments go round. Power law: experts draw their popularity x
// from density x^-alpha on [1, 0.8 tokens], scaled to tokens x top_k; the rank is the one with most work.
ExpertLoad expert_load(const MoeShape& shape);

}  // namespace tessera
