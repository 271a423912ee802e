#include "sim/gpu/sm_array.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kPsPerRate = 1e12;  // demands are kept as integers, bytes per second: sums come back to 0
constexpr std::size_t kArity = 4;    // of the heap: a node's children lie in one cache line

}  // namespace

void SmArray::open(const SmArraySpec& spec, std::int64_t ctas) {
  TESSERA_CHECK(spec.sms > 0 && spec.ctas_per_sm > 0 && ctas > 0,
                "a launch has CTAs and somewhere to run them");
  spec_ = spec, ctas_ = ctas;
  slots_ = spec.sms * spec.ctas_per_sm;
  const auto used = static_cast<std::size_t>(std::min(slots_, ctas));
  now_ = 0, virtual_ = 0, stretch_ = 1, busy_ = 0, events_ = 0, live_ = 0, next_ = 0;
  hbm_rate_ = l2_rate_ = pass_rate_ = 0;
  passed_ = 0;
  live_slots_.assign(used, {});
  resident_.assign(static_cast<std::size_t>(spec.sms), 0);
  waiting_.assign(std::bit_ceil(used), 0);
  waiting_head_ = waiting_count_ = 0;
  heap_.clear();
  heap_.reserve(2 * used);
}

double SmArray::lone(const CtaRun& run, std::int32_t residents) const {
  return std::max(run.alone, residents * run.compute) + run.fixed;
}

void SmArray::set_rates(Slot& s, double length) {
  s.length = std::max(length, 1.0);
  s.hbm_rate = static_cast<std::int64_t>(s.run.hbm_bytes / s.length * kPsPerRate);
  s.l2_rate = static_cast<std::int64_t>(s.run.l2_bytes / s.length * kPsPerRate);
  s.pass_rate = static_cast<std::int64_t>(s.run.passed / s.length * kPsPerRate);
  hbm_rate_ += s.hbm_rate, l2_rate_ += s.l2_rate, pass_rate_ += s.pass_rate;
}

void SmArray::drop_rates(const Slot& s) {
  hbm_rate_ -= s.hbm_rate, l2_rate_ -= s.l2_rate, pass_rate_ -= s.pass_rate;
}

void SmArray::move_to(double virtual_time) {
  passed_ += (virtual_time - virtual_) * (static_cast<double>(pass_rate_) / kPsPerRate);
  virtual_ = virtual_time;
}

double SmArray::stretch(double hbm_rate, double l2_rate) const {
  const double hbm = hbm_rate / spec_.hbm_bytes_per_ps, l2 = l2_rate / spec_.l2_bytes_per_ps;
  const double l24 = l2 * l2 * l2 * l2;
  const double fed =
      spec_.l2_exponent == 4 ? std::sqrt(std::sqrt(1 + l24)) : std::sqrt(std::sqrt(std::sqrt(1 + l24 * l24)));
  return spec_.hbm_exponent == 3 ? std::cbrt(fed * fed * fed + hbm * hbm * hbm)
                                 : std::sqrt(std::sqrt(fed * fed * fed * fed + hbm * hbm * hbm * hbm));
}

void SmArray::update_stretch() {
  stretch_ = stretch(static_cast<double>(hbm_rate_) / kPsPerRate, static_cast<double>(l2_rate_) / kPsPerRate);
  if (spec_.wave_quantisation < 1 && next_ >= ctas_ && ctas_ > spec_.sms) {
    const std::int64_t busy = std::min<std::int64_t>(live_, spec_.sms);
    stretch_ *= spec_.wave_quantisation +
                (1 - spec_.wave_quantisation) * static_cast<double>(busy) / static_cast<double>(spec_.sms);
  }
}

std::int32_t SmArray::advance() {
  ++events_;
  while (!heap_.empty() &&
         heap_.front().version != live_slots_[static_cast<std::size_t>(heap_.front().slot)].version)
    pop();
  const bool waits = waiting_count_ > 0;
  std::int64_t begins = 0;
  if (waits)
    begins = live_slots_[static_cast<std::size_t>(waiting_[waiting_head_])].start +
             static_cast<std::int64_t>(spec_.prologue_ps);
  std::int64_t ends = 0;
  if (!heap_.empty())
    ends = now_ + static_cast<std::int64_t>(std::ceil((heap_.front().tag - virtual_) * stretch_));
  TESSERA_CHECK(waits || !heap_.empty(), "a live CTA waits or loops");
  if (waits && (heap_.empty() || begins <= ends)) {
    move_to(virtual_ + static_cast<double>(begins - now_) / stretch_);
    now_ = begins;
    const std::int32_t slot = waiting_[waiting_head_];
    waiting_head_ = (waiting_head_ + 1) & (waiting_.size() - 1);
    --waiting_count_;
    enter_loop(slot);
    return -1;
  }
  move_to(heap_.front().tag);
  now_ = std::max(now_, ends);
  const std::int32_t slot = heap_.front().slot;
  pop();
  return slot;
}

void SmArray::enter_loop(std::int32_t slot) {
  Slot& s = live_slots_[static_cast<std::size_t>(slot)];
  s.loop = now_;
  s.looping = true;
  set_rates(s, lone(s.run, resident_[static_cast<std::size_t>(slot % spec_.sms)]));
  s.tag = virtual_ + s.length;
  push({s.tag, slot, ++s.version});
  update_stretch();
}

void SmArray::finish(std::int32_t slot) {
  Slot& s = live_slots_[static_cast<std::size_t>(slot)];
  if (spans != nullptr)
    spans->push_back({s.cta, static_cast<std::int32_t>(slot % spec_.sms),
                      static_cast<std::int32_t>(slot / spec_.sms), s.start, s.loop, now_});
  s.looping = false;
  ++s.version;
  drop_rates(s);
  busy_ += static_cast<double>(now_ - s.start);
  --live_;
  --resident_[static_cast<std::size_t>(slot % spec_.sms)];
  update_stretch();
}

void SmArray::leave(std::int32_t slot) {
  const std::int64_t sm = slot % spec_.sms;
  const std::int32_t left = resident_[static_cast<std::size_t>(sm)];
  for (std::int64_t other = sm; left > 0 && other < static_cast<std::int64_t>(live_slots_.size());
       other += spec_.sms) {
    Slot& s = live_slots_[static_cast<std::size_t>(other)];
    if (!s.looping) continue;
    const double length = lone(s.run, left);
    if (length == s.length) continue;
    const double remaining = (s.tag - virtual_) * length / s.length;
    drop_rates(s);
    set_rates(s, length);
    s.tag = virtual_ + remaining;
    push({s.tag, static_cast<std::int32_t>(other), ++s.version});
  }
  update_stretch();
}

ArrayResult SmArray::run_equal(const SmArraySpec& spec, std::int64_t ctas, const CtaRun& one) {
  const std::int64_t slots = spec.sms * spec.ctas_per_sm;
  const std::int64_t waves = ctas / slots, rest = ctas % slots;
  ArrayResult result;
  if (waves > 0) {
    spec_ = spec;
    const auto loop = [&](double length) {
      const double per_ps = static_cast<double>(slots) / length;
      return static_cast<std::int64_t>(
          std::ceil(length * stretch(one.hbm_bytes * per_ps, one.l2_bytes * per_ps)));
    };
    const double prologue = one.idle ? 0 : spec.prologue_ps;
    const double length = std::max(lone(one, spec.ctas_per_sm), 1.0);
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
  if (spec_.order == CtaOrder::persistent) return live_slots_[static_cast<std::size_t>(slot)].cta + slots_;
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
