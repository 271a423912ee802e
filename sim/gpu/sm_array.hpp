// The event core of the tile grain: CTAs on the SMs of one card, one launch from first dispatch to last end.
//
// A CTA waits out its prologue, then walks its main loop. Those of the first wave do so together, before any
// memory traffic; later ones are out of step, so their prologue is a part of the loop like any other. Alone
// on an SM, with the memory idle, the loop takes max(alone, R compute) + fixed, where R CTAs reside on the SM
// and share its tensor and exponential units. All loops stretch by one factor while bandwidth is short,
//   phi = ((1 + rho_l2^a)^(b/a) + rho_hbm^b)^(1/b),   rho = bytes wanted per time / bytes per time,
// so no more than the bandwidth is ever served. Progress is a virtual clock with dV = dt / phi: a loop ends
// when V reaches its tag, whatever happens in between, so a run of equal steps is one event, not one each.
// The exponents say how well a kernel's pipeline hides that it waits; they belong to kernels, not to cards.
// SMs fill breadth first; an SM whose CTA ends takes the next one (in order), or its slot's own (persistent).
// Left out: clusters, and differences between SMs in their distance to memory.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/tiles/program.hpp"

namespace tessera {

// The main loop of one CTA as the SM array sees it; times in ps, alone on the card.
struct CtaRun {
  double alone = 0;      // lone time of all steps: loads, latencies and compute in their dependences
  double compute = 0;    // of which the SM's shared units work
  double fixed = 0;      // pipeline fill, drain and epilogue: never shared, never contended
  double hidden = 0;     // of the prologue, behind the CTA before it on the same slot
  double hbm_bytes = 0;  // read and written
  double l2_bytes = 0;   // between L2 and SM
  double passed = 0;     // bytes other pages in L2 see pass
  bool idle = false;     // finds nothing to do: no prologue
};

struct SmArraySpec {
  std::int64_t sms = 1;
  int ctas_per_sm = 1;
  double hbm_bytes_per_ps = 1;
  double l2_bytes_per_ps = 1;
  int hbm_exponent = 3;  // 3 or 4
  int l2_exponent = 4;   // 4 or 8
  double prologue_ps = 0;
  CtaOrder order = CtaOrder::in_order;
  // 1: a last partial wave takes as long as a full one. 0: its work spreads over the idle SMs, as stream-K
  // schedules and the clock headroom of a half-idle card let it.
  double wave_quantisation = 1;
};

struct ArrayResult {
  std::int64_t time_ps = 0;
  std::int64_t events = 0;
  double sm_busy_ps = 0;  // sum over SMs of the time a CTA was resident
  double passed = 0;      // likewise, of all
};

// One CTA's stay, for timelines.
struct CtaSpan {
  std::int64_t cta;
  std::int32_t sm, slot;
  std::int64_t start_ps, loop_ps, end_ps;
};

class SmArray {
 public:
  // `begin(cta, passed)` describes a CTA when it starts; by then `passed` bytes have gone by in
  // L2. Called in event order.
  template <class Begin>
  ArrayResult run(const SmArraySpec& spec, std::int64_t ctas, Begin&& begin) {
    open(spec, ctas);
    for (std::int64_t slot = 0; slot < slots_ && slot < ctas; ++slot) dispatch(slot, slot, begin);
    next_ = std::min(slots_, ctas);
    while (live_ > 0) {
      const std::int32_t slot = advance();
      if (slot < 0) continue;  // a prologue ended
      finish(slot);
      const std::int64_t cta = successor(slot);
      if (cta < ctas) {
        dispatch(slot, cta, begin);
      } else {
        leave(slot);
      }
    }
    return {now_, events_, busy_, passed_};
  }

  // The same for CTAs that are all equal: whole waves in closed form, the last one by events.
  ArrayResult run_equal(const SmArraySpec& spec, std::int64_t ctas, const CtaRun& run);

  std::vector<CtaSpan>* spans = nullptr;  // filled if set

 private:
  struct Slot {
    CtaRun run;
    std::int64_t cta = -1;
    std::int64_t start = 0, loop = 0;
    double tag = 0;             // V at which the loop ends
    double length = 0;          // lone time of the loop at the present residency
    std::int64_t hbm_rate = 0;  // bytes wanted per second of lone time
    std::int64_t l2_rate = 0;
    std::int64_t pass_rate = 0;
    std::uint32_t version = 0;
    bool looping = false;
  };
  struct Entry {
    double tag;
    std::int32_t slot;
    std::uint32_t version;
    // Of CTAs that end together the lowest slot is free first, so that SMs fill breadth first again.
    [[nodiscard]] bool before(const Entry& other) const {
      return tag != other.tag ? tag < other.tag : slot < other.slot;
    }
  };

  void open(const SmArraySpec& spec, std::int64_t ctas);
  template <class Begin>
  void dispatch(std::int64_t slot, std::int64_t cta, Begin&& begin) {
    Slot& s = live_slots_[static_cast<std::size_t>(slot)];
    s.cta = cta;
    s.start = now_;
    s.run = begin(cta, passed_);
    ++live_;
    ++resident_[static_cast<std::size_t>(slot % spec_.sms)];
    if (s.run.idle) return enter_loop(static_cast<std::int32_t>(slot));
    if (now_ > 0) {
      s.run.fixed += spec_.prologue_ps - s.run.hidden;
      return enter_loop(static_cast<std::int32_t>(slot));
    }
    waiting_[(waiting_head_ + waiting_count_++) & (waiting_.size() - 1)] = static_cast<std::int32_t>(slot);
  }
  std::int32_t advance();  // to the next event; the slot whose CTA ended, or -1
  void enter_loop(std::int32_t slot);
  void finish(std::int32_t slot);  // the CTA of this slot
  void leave(std::int32_t slot);   // nothing follows it: neighbours get its share of the SM
  [[nodiscard]] std::int64_t successor(std::int32_t slot);
  [[nodiscard]] double lone(const CtaRun& run, std::int32_t residents) const;
  void move_to(double virtual_time);
  void set_rates(Slot& s, double length);
  void drop_rates(const Slot& s);
  [[nodiscard]] double stretch(double hbm_rate, double l2_rate) const;  // bytes wanted per ps
  void update_stretch();
  void push(Entry entry);
  void pop();

  SmArraySpec spec_;
  std::int64_t ctas_ = 0, slots_ = 0, next_ = 0, live_ = 0, events_ = 0;
  std::int64_t now_ = 0;
  double virtual_ = 0, stretch_ = 1, busy_ = 0;
  double passed_ = 0;
  std::int64_t hbm_rate_ = 0, l2_rate_ = 0, pass_rate_ = 0;
  std::vector<Slot> live_slots_;
  std::vector<std::int32_t> resident_;  // CTAs of each SM
  std::vector<std::int32_t> waiting_;   // ring of slots in their prologue, in order of its end
  std::size_t waiting_head_ = 0, waiting_count_ = 0;
  std::vector<Entry> heap_;
};

}  // namespace tessera
