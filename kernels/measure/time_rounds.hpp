// The loop that times rounds on a card, apart from the card so that a scripted one can test it.
//
// An idle card stamps the begin event as soon as it is recorded, so what the host takes to launch the round
// would count. Therefore the card is kept busy first, and a round that it reached before all was enqueued is
// taken again behind a longer wait.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/measure/machine.hpp"

namespace tessera::measure {

// How long the card is kept busy before a round.
class Lead {
 public:
  [[nodiscard]] double microseconds() const { return microseconds_; }
  // Asks for more after a round that was not enqueued in time; false where there is no more to ask for.
  bool lengthen() {
    const double before = microseconds_;
    microseconds_ = std::min(2 * before, kMost);
    return microseconds_ > before;
  }

 private:
  static constexpr double kMost = 100e3;
  double microseconds_ = 50;
};

// A card offers spin(microseconds), record_begin(), enqueue_round(), begun() (whether the begin event has
// been reached, asked without waiting), record_end() and wait_ms() (from event to event, once both are
// reached). Milliseconds per op of each repeat.
template <class Card>
std::vector<double> time_rounds(Card&& card, const Timing& timing) {
  std::vector<double> times;
  Lead lead;
  for (int i = 0; i < timing.warmup + timing.repeats; ++i) {
    bool again = false;
    double ms = 0;
    do {
      if (timing.queued) card.spin(lead.microseconds());
      card.record_begin();
      card.enqueue_round();
      const bool late = timing.queued && card.begun();
      card.record_end();
      ms = card.wait_ms();
      again = late && lead.lengthen();
    } while (again);
    if (i >= timing.warmup) times.push_back(ms / static_cast<double>(timing.ops));
  }
  return times;
}

}  // namespace tessera::measure
