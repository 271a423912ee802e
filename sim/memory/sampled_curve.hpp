// LRU miss ratios at every capacity from a sample of the keys: SHARDS (Waldspurger et al., FAST 2015).
// A key is sampled if its hash is below a threshold T of 2^64; at rate R = T / 2^64 a stack distance d
// among sampled keys stands for 1 + (d - 1) / R among all, and the reference for 1 / R references.
//
// Fixed rate: R is given. Fixed size: at most so many keys are tracked; when one too many comes, T falls
// to the largest hash among them and the keys there are dropped, so memory is bounded whatever the trace.
// Both with the paper's correction (SHARDS-adj): the difference between the references that the sample
// stands for and those there were is credited to the shortest distance, where hot keys that the sample
// caught too often or too seldom belong. Sampling cuts prompts apart: hits of single blocks only, no
// prefix hits.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/memory/dense_trace.hpp"

namespace tessera {

class SampledCurve {
 public:
  static SampledCurve fixed_rate(const DenseTrace& trace, double rate, std::uint64_t seed = 0);
  static SampledCurve fixed_size(const DenseTrace& trace, std::size_t most_keys, std::uint64_t seed = 0);

  [[nodiscard]] double miss_ratio(std::uint32_t blocks) const;
  // At the end of the trace.
  [[nodiscard]] double rate() const { return rate_; }
  [[nodiscard]] std::size_t sampled_keys() const { return keys_; }

 private:
  struct Step {
    double distance;
    double references;  // at this distance or nearer
  };
  SampledCurve(const DenseTrace& trace, double rate, std::size_t most_keys, std::uint64_t seed);

  std::vector<Step> steps_;  // by distance
  double correction_ = 0;    // references at distance 1 that the sample does not stand for
  double references_ = 0;
  double rate_ = 0;
  std::size_t keys_ = 0;
};

}  // namespace tessera
