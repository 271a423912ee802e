// The shape of a routed-expert layer, and how many assignments the experts of the measured rank get.
#pragma once

#include <cstdint>
#include <vector>

#include "models/hardware/gpu.hpp"

namespace tessera {

struct MoeShape {
  std::int64_t tokens = 1;  // tokens entering the layer (all ranks of the expert-parallel group)
  std::int64_t hidden = 1;
  std::int64_t expert_width = 1;  // full width of one expert; divided by tp below
  int experts = 1;
  int top_k = 1;
  int tp = 1;  // tensor-parallel slices of each expert
  int ep = 1;  // ranks the experts are spread over
  bool gated = true;
  DType dtype = DType::bf16;
  double power_law = 0;  // 0: balanced; else the exponent alpha of the expert popularity
  bool drawn = false;    // every token draws its experts by popularity, as in serving; power_law is not used
};

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
// Drawn: expert i gets a token with probability p_i, so it has work with 1 - (1 - p_i)^tokens; the p_i stand
// at the quantiles of density x^-1.2 on [1, 100], the law the public tables sample decode loads from. A batch
// of a few tokens then touches far fewer experts than it has assignments. Ranks are taken as equally popular.
ExpertLoad expert_load(const MoeShape& shape);

// Whether the experts of this shape are gated in the public tables, which have no column for it: the Nemotron
// shapes use squared ReLU, every other model is gated.
bool gated_in_tables(std::int64_t hidden, std::int64_t expert_width, int experts);

}  // namespace tessera
