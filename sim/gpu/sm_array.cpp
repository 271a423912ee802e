#include "sim/gpu/sm_array.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kPsPerRate = 1e12;  // demands are kept as integers, bytes per second: sums come back to 0
// A loop of no time would want bytes at any rate: a nanosecond, about two clocks, is the least of one. It
// keeps the sum of all rates inside an integer.
constexpr double kShortestLoop = 1000;
constexpr std::size_t kArity = 4;  // of the heap: a node's children lie in one cache line

}  // namespace

SmLists lists_of(std::vector<CtaSpan> spans, std::int64_t sms) {
  std::sort(spans.begin(), spans.end(), [](const CtaSpan& a, const CtaSpan& b) {
    return std::pair(a.start_ps, a.cta) < std::pair(b.start_ps, b.cta);
  });
  SmLists lists(static_cast<std::size_t>(sms));
  for (const CtaSpan& span : spans) lists[static_cast<std::size_t>(span.sm)].push_back(span.cta);
  return lists;
}

void SmArray::open(const SmArraySpec& spec, std::int64_t ctas) {
  TESSERA_CHECK(spec.sms > 0 && spec.ctas_per_sm > 0 && ctas > 0,
                "a launch has CTAs and somewhere to run them");
  spec_ = spec, ctas_ = ctas;
  set_bandwidth();
  slot_count_ = spec.sms * spec.ctas_per_sm;
  now_ = 0, virtual_ = 0, stretch_ = 1, busy_ = 0, events_ = 0, live_ = 0, next_ = 0;
  busy_sms_ = 0;
  rates_ = {};
  passed_ = 0;
  resident_.assign(static_cast<std::size_t>(spec.sms), 0);
  waiting_.clear(), groups_.clear(), free_groups_.clear(), heap_.clear();
  newest_ = kNone, made_ = 0;
  place_first();
}

// The first wave: breadth first, or as many of each SM's list as it holds, in the order of their numbers.
void SmArray::place_first() {
  const std::int64_t used = lists == nullptr ? std::min(slot_count_, ctas_) : slot_count_;
  slots_.assign(static_cast<std::size_t>(used), {});
  for (std::int64_t i = 0; i < used; ++i)
    slots_[static_cast<std::size_t>(i)].sm = static_cast<std::int32_t>(i % spec_.sms);
  first_.clear();
  if (lists == nullptr) {
    for (std::int64_t i = 0; i < used; ++i) first_.push_back({static_cast<std::int32_t>(i), i});
    next_ = used;
    return;
  }
  TESSERA_CHECK(static_cast<std::int64_t>(lists->size()) == spec_.sms, "every SM has its list");
  taken_.assign(lists->size(), 0);
  for (std::int64_t i = 0; i < used; ++i) {
    const std::int64_t cta = successor(static_cast<std::int32_t>(i));
    if (cta < ctas_) first_.push_back({static_cast<std::int32_t>(i), cta});
  }
  std::sort(first_.begin(), first_.end(), [](const Start& a, const Start& b) { return a.cta < b.cta; });
}

void SmArray::set_bandwidth() {
  hbm_ps_per_byte_ = 1 / spec_.hbm_bytes_per_ps;
  l2_ps_per_byte_ = 1 / spec_.l2_bytes_per_ps;
}

double SmArray::lone(const CtaRun& run, std::int32_t residents) const {
  return std::max(run.alone, residents * run.compute) + run.fixed;
}

void SmArray::set_rates(Slot& s, double length) {
  s.length = std::max(length, kShortestLoop);
  const Moved moved{s.length, s.run.hbm_bytes, s.run.l2_bytes, s.run.passed};
  if (!(moved == last_moved_)) {  // CTAs that follow each other mostly do the same
    const double per_length = kPsPerRate / s.length;
    last_moved_ = moved;
    last_rates_ = {static_cast<std::int64_t>(moved.hbm * per_length),
                   static_cast<std::int64_t>(moved.l2 * per_length),
                   static_cast<std::int64_t>(moved.passed * per_length)};
  }
  s.rates = last_rates_;
  rates_.hbm += s.rates.hbm, rates_.l2 += s.rates.l2, rates_.passed += s.rates.passed;
}

void SmArray::drop_rates(const Slot& s) {
  rates_.hbm -= s.rates.hbm, rates_.l2 -= s.rates.l2, rates_.passed -= s.rates.passed;
}

void SmArray::move_to(double virtual_time) {
  passed_ += (virtual_time - virtual_) * (static_cast<double>(rates_.passed) / kPsPerRate);
  virtual_ = virtual_time;
}

double SmArray::stretch(double hbm_rate, double l2_rate) const {
  const double hbm = hbm_rate * hbm_ps_per_byte_, l2 = l2_rate * l2_ps_per_byte_;
  const double l24 = l2 * l2 * l2 * l2;
  const double fed =
      spec_.l2_exponent == 4 ? std::sqrt(std::sqrt(1 + l24)) : std::sqrt(std::sqrt(std::sqrt(1 + l24 * l24)));
  return spec_.hbm_exponent == 3 ? std::cbrt(fed * fed * fed + hbm * hbm * hbm)
                                 : std::sqrt(std::sqrt(fed * fed * fed * fed + hbm * hbm * hbm * hbm));
}

void SmArray::update_stretch() {
  stretch_ =
      stretch(static_cast<double>(rates_.hbm) / kPsPerRate, static_cast<double>(rates_.l2) / kPsPerRate);
  if (spec_.wave_quantisation < 1 && next_ >= ctas_ && ctas_ > spec_.sms) {
    const double spread = spec_.wave_quantisation + (1 - spec_.wave_quantisation) *
                                                        static_cast<double>(busy_sms_) /
                                                        static_cast<double>(spec_.sms);
    // Idle SMs add units, not bandwidth.
    const double served = std::max(static_cast<double>(rates_.hbm) * hbm_ps_per_byte_,
                                   static_cast<double>(rates_.l2) * l2_ps_per_byte_) /
                          kPsPerRate;
    stretch_ = std::max(stretch_ * spread, std::min(stretch_, served));
  }
}

std::int32_t SmArray::advance() {
  while (!heap_.empty() && groups_[static_cast<std::size_t>(heap_.front().group)].head == kNone) {
    free_groups_.push_back(heap_.front().group);
    pop();
  }
  const bool waits = !waiting_.empty();
  const auto begins = static_cast<std::int64_t>(spec_.prologue_ps);
  std::int64_t ends = 0;
  if (!heap_.empty())
    ends = now_ + static_cast<std::int64_t>(std::ceil((heap_.front().tag - virtual_) * stretch_));
  TESSERA_CHECK(waits || !heap_.empty(), "a live CTA waits or loops");
  if (waits && (heap_.empty() || begins <= ends)) {
    events_ += static_cast<std::int64_t>(waiting_.size());
    move_to(virtual_ + static_cast<double>(begins - now_) / stretch_);
    now_ = begins;
    return kNone;
  }
  move_to(heap_.front().tag);
  now_ = std::max(now_, ends);
  const std::int32_t group = heap_.front().group;
  pop();
  return group;
}

void SmArray::enter_loop(std::int32_t slot) {
  Slot& s = slots_[static_cast<std::size_t>(slot)];
  s.loop = now_;
  set_rates(s, lone(s.run, resident_[static_cast<std::size_t>(s.sm)]));
  join(slot, virtual_ + s.length);
}

void SmArray::join(std::int32_t slot, double tag) {
  Slot& s = slots_[static_cast<std::size_t>(slot)];
  if (newest_ == kNone || groups_[static_cast<std::size_t>(newest_)].head == kNone ||
      groups_[static_cast<std::size_t>(newest_)].tag != tag) {
    if (free_groups_.empty()) {
      newest_ = static_cast<std::int32_t>(groups_.size());
      groups_.emplace_back();
    } else {
      newest_ = free_groups_.back();
      free_groups_.pop_back();
    }
    groups_[static_cast<std::size_t>(newest_)].tag = tag;
    push({tag, made_++, newest_});
  }
  Group& g = groups_[static_cast<std::size_t>(newest_)];
  s.group = newest_, s.before = g.tail, s.after = kNone;
  (g.tail == kNone ? g.head : slots_[static_cast<std::size_t>(g.tail)].after) = slot;
  g.tail = slot;
}

void SmArray::part(std::int32_t slot) {
  Slot& s = slots_[static_cast<std::size_t>(slot)];
  Group& g = groups_[static_cast<std::size_t>(s.group)];
  (s.before == kNone ? g.head : slots_[static_cast<std::size_t>(s.before)].after) = s.after;
  (s.after == kNone ? g.tail : slots_[static_cast<std::size_t>(s.after)].before) = s.before;
  s.group = kNone;
}

void SmArray::finish(std::int32_t slot) {
  ++events_;
  part(slot);
  const Slot& s = slots_[static_cast<std::size_t>(slot)];
  if (spans != nullptr)
    spans->push_back({s.cta, s.sm, static_cast<std::int32_t>(slot / spec_.sms), s.start, s.loop, now_});
  drop_rates(s);
  busy_ += static_cast<double>(now_ - s.start);
  --live_;
  busy_sms_ -= --resident_[static_cast<std::size_t>(s.sm)] == 0;
}

void SmArray::leave(std::int32_t slot) {
  const std::int32_t sm = slots_[static_cast<std::size_t>(slot)].sm;
  const std::int32_t left = resident_[static_cast<std::size_t>(sm)];
  for (std::int64_t other = sm; left > 0 && other < static_cast<std::int64_t>(slots_.size());
       other += spec_.sms) {
    Slot& s = slots_[static_cast<std::size_t>(other)];
    if (s.group == kNone) continue;
    const double tag = groups_[static_cast<std::size_t>(s.group)].tag;
    const double length = lone(s.run, left);
    if (length == s.length || tag <= virtual_) continue;
    const double remaining = (tag - virtual_) * length / s.length;
    drop_rates(s);
    set_rates(s, length);
    part(static_cast<std::int32_t>(other));
    join(static_cast<std::int32_t>(other), virtual_ + remaining);
  }
}

ArrayResult SmArray::run_equal(const SmArraySpec& spec, std::int64_t ctas, const CtaRun& one) {
  const std::int64_t slots = spec.sms * spec.ctas_per_sm;
  const std::int64_t waves = ctas / slots, rest = ctas % slots;
  ArrayResult result;
  if (waves > 0) {
    spec_ = spec;
    set_bandwidth();
    const auto loop = [&](double length) {
      const double per_ps = static_cast<double>(slots) / length;
      return static_cast<std::int64_t>(
          std::ceil(length * stretch(one.hbm_bytes * per_ps, one.l2_bytes * per_ps)));
    };
    const double prologue = one.idle ? 0 : spec.prologue_ps;
    const double length = std::max(lone(one, spec.ctas_per_sm), kShortestLoop);
    result.time_ps = static_cast<std::int64_t>(prologue) + loop(length) +
                     (waves - 1) * loop(length + prologue - one.hidden);
    result.events = 2;
    result.sm_busy_ps = static_cast<double>(result.time_ps) * static_cast<double>(slots);
    result.passed = one.passed * static_cast<double>(waves * slots);
  }
  if (rest > 0) {
    SmArraySpec last = spec;
    if (waves == 0) last.wave_quantisation = 1;  // a lone wave has no idle SMs to spread to
    CtaRun late = one;
    if (waves > 0 && !one.idle) late.fixed += spec.prologue_ps - one.hidden, last.prologue_ps = 0;
    const ArrayResult tail = run(last, rest, [&](std::int64_t, double) { return late; });
    result.time_ps += tail.time_ps, result.events += tail.events;
    result.sm_busy_ps += tail.sm_busy_ps, result.passed += tail.passed;
  }
  return result;
}

std::int64_t SmArray::successor(std::int32_t slot) {
  const Slot& s = slots_[static_cast<std::size_t>(slot)];
  if (lists != nullptr) {
    const auto sm = static_cast<std::size_t>(s.sm);
    const std::vector<std::int64_t>& list = (*lists)[sm];
    if (taken_[sm] == list.size()) return ctas_;
    ++next_;
    return list[taken_[sm]++];
  }
  if (spec_.order == CtaOrder::persistent) return s.cta + slot_count_;
  return next_ < ctas_ ? next_++ : ctas_;
}

void SmArray::push(Entry entry) {
  std::size_t at = heap_.size();
  heap_.push_back(entry);
  while (at > 0) {
    const std::size_t up = (at - 1) / kArity;
    if (!entry.before(heap_[up])) break;
    heap_[at] = heap_[up];
    at = up;
  }
  heap_[at] = entry;
}

void SmArray::pop() {
  const Entry last = heap_.back();
  heap_.pop_back();
  if (heap_.empty()) return;
  std::size_t at = 0;
  for (;;) {
    const std::size_t first = at * kArity + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    const std::size_t end = std::min(first + kArity, heap_.size());
    for (std::size_t child = first + 1; child < end; ++child)
      if (heap_[child].before(heap_[least])) least = child;
    if (!heap_[least].before(last)) break;
    heap_[at] = heap_[least];
    at = least;
  }
  heap_[at] = last;
}

}  // namespace tessera
