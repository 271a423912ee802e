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
// Loops that end at one tag are one event for all of them: equal CTAs stay in step from wave to wave, so the
// heap and phi are touched once a wave. What ends together is served in the order in which it started.
// Left out: clusters, and differences between SMs in their distance to memory.
#pragma once

#include <cstdint>
#include <new>
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

// CTAs of every SM in the order it takes them, however many it holds at a time: what a launch did, to be
// replayed on another card.
using SmLists = std::vector<std::vector<std::int64_t>>;

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

// The lists by which a recorded launch filled `sms` SMs.
SmLists lists_of(std::vector<CtaSpan> spans, std::int64_t sms);

class SmArray {
 public:
  // `begin(cta, passed)` describes a CTA when it starts; by then `passed` bytes have gone by in
  // L2. Called in event order.
  template <class Begin>
  ArrayResult run(const SmArraySpec& spec, std::int64_t ctas, Begin&& begin) {
    open(spec, ctas);
    for (const Start& first : first_) dispatch(first.slot, first.cta, begin);
    update_stretch();
    while (live_ > 0) {
      const std::int32_t group = advance();
      if (group == kNone) {
        for (const std::int32_t slot : waiting_) enter_loop(slot);
        waiting_.clear();
      } else {
        for (std::int32_t slot; (slot = groups_[static_cast<std::size_t>(group)].head) != kNone;) {
          finish(slot);
          const std::int64_t cta = successor(slot);
          if (cta < ctas)
            dispatch(slot, cta, begin);
          else
            leave(slot);
        }
        free_groups_.push_back(group);
      }
      update_stretch();
    }
    return {now_, events_, busy_, passed_};
  }

  // The same for CTAs that are all equal: whole waves in closed form, the last one by events.
  ArrayResult run_equal(const SmArraySpec& spec, std::int64_t ctas, const CtaRun& run);

  std::vector<CtaSpan>* spans = nullptr;  // filled if set
  const SmLists* lists = nullptr;         // if set, one for each SM, in place of the spec's order

 private:
  static constexpr std::int32_t kNone = -1;

  struct Rates {
    std::int64_t hbm = 0, l2 = 0, passed = 0;  // bytes wanted per second of lone time
  };
  struct Moved {  // what rates follow from
    double length = 0, hbm = 0, l2 = 0, passed = 0;
    bool operator==(const Moved&) const = default;
  };
  struct Slot {
    CtaRun run;
    std::int64_t cta = -1;
    std::int64_t start = 0, loop = 0;
    double length = 0;  // lone time of the loop at the present residency
    Rates rates;
    std::int32_t sm = 0;
    std::int32_t group = kNone;                  // of the loop it is in
    std::int32_t before = kNone, after = kNone;  // in the group
  };
  // Slots whose loops end when V reaches one tag, in the order in which they entered.
  struct Group {
    double tag = 0;
    std::int32_t head = kNone, tail = kNone;
  };
  struct Entry {
    double tag;
    std::uint32_t order;  // of the groups' making: of two with one tag the older goes first
    std::int32_t group;
    [[nodiscard]] bool before(const Entry& other) const {
      return tag != other.tag ? tag < other.tag : order < other.order;
    }
  };
  struct Start {
    std::int32_t slot;
    std::int64_t cta;
  };

  void open(const SmArraySpec& spec, std::int64_t ctas);
  void place_first();
  void set_bandwidth();
  template <class Begin>
  void dispatch(std::int32_t slot, std::int64_t cta, Begin&& begin) {
    Slot& s = slots_[static_cast<std::size_t>(slot)];
    s.cta = cta;
    s.start = now_;
    ::new (static_cast<void*>(&s.run)) CtaRun(begin(cta, passed_));  // in place: it is most of a CTA's cost
    ++live_;
    busy_sms_ += ++resident_[static_cast<std::size_t>(s.sm)] == 1;
    if (s.run.idle) return enter_loop(slot);
    if (now_ == 0) return waiting_.push_back(slot);
    s.run.fixed += spec_.prologue_ps - s.run.hidden;
    enter_loop(slot);
  }
  std::int32_t advance();  // to the next event: the group that ends, or none if the first prologues do
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
  void join(std::int32_t slot, double tag);  // a group of this tag
  void part(std::int32_t slot);              // from its group
  void push(Entry entry);
  void pop();

  SmArraySpec spec_;
  std::int64_t ctas_ = 0, slot_count_ = 0, next_ = 0, live_ = 0, events_ = 0;
  std::int64_t now_ = 0, busy_sms_ = 0;
  double virtual_ = 0, stretch_ = 1, busy_ = 0;
  double hbm_ps_per_byte_ = 0, l2_ps_per_byte_ = 0;
  double passed_ = 0;
  Rates rates_, last_rates_;
  Moved last_moved_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> resident_;  // CTAs of each SM
  std::vector<std::size_t> taken_;      // of each SM's list
  std::vector<Start> first_;            // CTAs of the first wave, in the order they start
  std::vector<std::int32_t> waiting_;   // of which these are in their prologue
  std::vector<Group> groups_;
  std::vector<std::int32_t> free_groups_;
  std::int32_t newest_ = kNone;  // group
  std::uint32_t made_ = 0;       // groups
  std::vector<Entry> heap_;
};

}  // namespace tessera
