// Which beams survive a step of beam search, as a process of chance: every beam keeps its place with
// probability `survival`, else it is dropped and its place taken by a branch of another, all others equally
// likely. So k beams stay k, and two of them had one parent a step ago with probability about
// 2 (1 - survival) / (k - 1): their tables coincide up to where their lines meet.
//
// A stand-in for scores of a language model, which no trace has; `survival` is the one assumption. Left out:
// beams that end early, survival that changes along the answer.
#pragma once

#include <cstdint>
#include <span>

#include "models/base/check.hpp"
#include "sim/engine/random.hpp"

namespace tessera {

class BeamSurvival {
 public:
  explicit BeamSurvival(double survival) : keep_below_(static_cast<std::uint64_t>(survival * 0x1p53)) {
    TESSERA_CHECK(survival >= 0 && survival <= 1, "a probability");
  }

  // parents[i]: the beam of the step before that beam i continues. False if every beam continues itself.
  bool step(sim::RandomStream& random, std::span<std::uint32_t> parents) const {
    bool changed = false;
    const std::uint64_t others = parents.size() - 1;
    for (std::uint32_t i = 0; i < parents.size(); ++i) {
      parents[i] = i;
      if (others == 0 || (random() >> 11U) < keep_below_) continue;
      const std::uint64_t pick = (random() >> 32U) * others >> 32U;
      parents[i] = static_cast<std::uint32_t>(pick < i ? pick : pick + 1);
      changed = true;
    }
    return changed;
  }

 private:
  std::uint64_t keep_below_;  // of 53 random bits
};

}  // namespace tessera
