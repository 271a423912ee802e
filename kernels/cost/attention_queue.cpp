#include "kernels/cost/attention_queue.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kEqual = 1e-6;      // squared coefficient of variation below which lengths are one
constexpr double kOutOfStep = 0.05;  // variance of the start times, in lengths, at which no waves are left
constexpr int kNewtonSteps = 6;      // of a convex function: each at least halves the distance
constexpr double kTolerance = 1e-3;  // of the time the queue lasts

// How much longer a stretch takes with `active` CTAs than alone. Below one CTA `active` is the chance
// that one still runs.
struct Slowdown {
  double per_cta;  // memory time per us of lone work
  [[nodiscard]] double at(double active) const {
    const double x = std::max(active, 1.0) * per_cta;
    return std::min(active, 1.0) * std::cbrt(1 + x * x * x);
  }
};

struct Queue {
  std::span<const CtaLength> lengths;
  double copies, slots;
  double kinds = 0, sum = 0, square = 0;  // of one head
  double top = 0, least = 0;

  Queue(const CtaQueue& q, double s) : lengths(q.lengths), copies(q.copies), slots(s) {
    TESSERA_CHECK(!lengths.empty() && copies > 0 && slots > 0, "an attention launch has CTAs and slots");
    for (const CtaLength& l : lengths)
      kinds += l.count, sum += l.count * l.length, square += l.count * l.length * l.length;
    top = lengths.front().length;
    // Of lengths known only by their mean the first to finish has about half of it.
    least = lengths.back().length * (q.last_is_mean ? 0.5 : 1.0);
  }
  [[nodiscard]] double count() const { return kinds * copies; }
  [[nodiscard]] double work() const { return sum * copies; }
  [[nodiscard]] double mean() const { return sum / kinds; }
  [[nodiscard]] double variation() const { return square / (sum * mean()) - 1; }
  [[nodiscard]] double at_start() const { return slots / kinds; }  // C0

  // u_q: P u + (C - C0) sum [x^2 / 2D or x - D/2] + C0 sum (x - u)+ = work, D = u - least; the larger root.
  [[nodiscard]] double empty_at() const {
    const double late = copies - at_start();
    double u = work() / slots;
    for (int step = 0; step < kNewtonSteps; ++step) {
      const double spread = u - least;
      if (spread <= 0) return least;
      double long_count = 0, long_sum = 0, short_square = square, outlast_count = 0, outlast_sum = 0;
      for (const auto& [x, w] : lengths) {
        if (x <= spread) break;
        long_count += w, long_sum += w * x, short_square -= w * x * x;
        if (x > u) outlast_count += w, outlast_sum += w * x;
      }
      const double tail = late * (short_square / (2 * spread) + long_sum - long_count * spread / 2) +
                          at_start() * (outlast_sum - outlast_count * u);
      const double slope =
          slots - late * (short_square / (2 * spread * spread) + long_count / 2) - at_start() * outlast_count;
      if (slope <= 0) return std::max(least, u);
      const double change = (slots * u + tail - work()) / slope;
      u = std::max(least, u - change);
      if (std::abs(change) < kTolerance * u) break;
    }
    return u;
  }
};

double wave_schedule(const Queue& queue) { return queue.mean() * std::ceil(queue.count() / queue.slots); }

QueueTime in_waves(const Queue& queue, double memory_us, double exposed_us) {
  const double length = queue.mean();
  const double full = std::floor(queue.count() / queue.slots);
  const double rest = queue.count() - full * queue.slots;
  const double schedule = wave_schedule(queue);
  const double scale = 1 - exposed_us / schedule;
  if (scale <= 0) return {exposed_us + memory_us, schedule};
  const Slowdown slow{memory_us / (queue.work() * scale)};
  return {exposed_us + length * scale * (full * slow.at(queue.slots) + slow.at(rest)), schedule};
}

QueueTime all_at_once(const Queue& queue, double memory_us, double exposed_us) {
  const double scale = 1 - exposed_us / queue.top;
  if (scale <= 0) return {exposed_us + memory_us, queue.top};
  const Slowdown slow{memory_us / (queue.work() * scale)};
  double time = 0, longer = 0;
  for (std::size_t i = 0; i < queue.lengths.size(); ++i) {
    longer += queue.lengths[i].count;
    const double below = i + 1 < queue.lengths.size() ? queue.lengths[i + 1].length : 0;
    time += (queue.lengths[i].length - below) * slow.at(queue.copies * longer);
  }
  return {exposed_us + time * scale, queue.top};
}

// Integral of the slow-down over the tail, from its end backwards: k(y) is linear between the knots x_i
// and x_i - D (late copies) and steps by C0 at x_i - u_q (copies of the start).
double tail_time(const Queue& queue, double empty, const Slowdown& slow) {
  const double spread = std::max(empty - queue.least, 1e-9 * empty);
  const double late = queue.copies - queue.at_start();
  const std::span<const CtaLength> x = queue.lengths;
  std::size_t rising = 0, full = 0, outlast = 0;  // next entry to pass each kind of knot
  double rising_weight = 0, active = 0, time = 0, upper = queue.top;
  while (upper > 0) {
    const double a = rising < x.size() ? x[rising].length : 0;
    const double b = full < x.size() ? x[full].length - spread : 0;
    const double c = outlast < x.size() ? x[outlast].length - empty : 0;
    const double lower = std::max({0.0, a, b, c});
    if (lower < upper) {
      const double width = upper - lower;
      const double next = active + late * rising_weight * width / spread;
      time += width * slow.at(std::min((active + next) / 2, queue.slots));
      active = next, upper = lower;
    }
    if (lower <= 0) break;
    if (lower == a)
      rising_weight += x[rising++].count;
    else if (lower == b)
      rising_weight -= x[full++].count;
    else
      active += queue.at_start() * x[outlast++].count;
  }
  return time;
}

QueueTime queued(const Queue& queue, double memory_us, double exposed_us) {
  const double empty = queue.empty_at();
  const double schedule = empty + queue.top;
  const double scale = 1 - exposed_us / schedule;
  if (scale <= 0) return {exposed_us + memory_us, schedule};
  const Slowdown slow{memory_us / (queue.work() * scale)};
  return {exposed_us + scale * (empty * slow.at(queue.slots) + tail_time(queue, empty, slow)), schedule};
}

// Nearly equal lengths still finish in waves; each wave spreads the starts further. 1: in step, 0 or less:
// not.
double in_step(const Queue& queue) {
  return 1 - queue.variation() * queue.count() / queue.slots / kOutOfStep;
}

}  // namespace

double queue_schedule(const CtaQueue& ctas, double slots) {
  const Queue queue(ctas, slots);
  if (queue.variation() < kEqual) return wave_schedule(queue);
  if (queue.count() <= slots) return queue.top;
  const double spread = queue.empty_at() + queue.top;
  const double share = std::max(0.0, in_step(queue));
  return spread + share * (wave_schedule(queue) - spread);
}

QueueTime queue_time(const CtaQueue& ctas, double slots, double memory_us, double exposed_us) {
  const Queue queue(ctas, slots);
  if (queue.variation() < kEqual) return in_waves(queue, memory_us, exposed_us);
  if (queue.count() <= slots) return all_at_once(queue, memory_us, exposed_us);
  const double share = in_step(queue);
  const QueueTime spread = queued(queue, memory_us, exposed_us);
  if (share <= 0) return spread;
  const QueueTime waves = in_waves(queue, memory_us, exposed_us);
  return {spread.total + share * (waves.total - spread.total),
          spread.schedule + share * (waves.schedule - spread.schedule)};
}

}  // namespace tessera
