// The fluid queue: CTAs of unequal length on the slots of a GPU, sharing its bandwidth.
//
// CTAs are dispatched first come, first served, onto `slots`; while k run, each takes
// cbrt(1 + (k m)^3) times as long as alone, m = memory time / work of all. In units of lone progress u
// this is plain list scheduling, so the time is the integral of that factor over the active count k(u):
//   equal lengths run in whole waves;
//   when all fit at once, k(u) counts the lengths above u;
//   with a queue, k = slots until it is empty at u_q. Dispatch is head-major, so each head passes over
//   all sequences: of the C copies of a sequence C0 = slots / sequences start at 0 and the others evenly
//   between the first completion s and u_q. Hence, y after u_q,
//     k(y) = sum_i (C - C0) clamp((x_i - y) / (u_q - s), 0, 1) + C0 [x_i > u_q + y],
//   and u_q is where slots u_q + integral of k equals the work (Newton from above).
// Left out: the order of the sequences inside the batch (its effect is the scatter the test allows).
#pragma once

#include <cstdint>
#include <span>

namespace tessera {

// `count` row blocks of one head whose CTAs take `length` us alone.
struct CtaLength {
  double length = 0;
  double count = 1;
};

struct CtaQueue {
  std::span<const CtaLength> lengths;  // descending
  double copies = 1;                   // CTAs of each (heads x splits)
  bool last_is_mean = false;           // the last entry is the mean of lengths that differ
};

struct QueueTime {
  double total = 0;     // us, bandwidth shared
  double schedule = 0;  // us, were bandwidth unlimited
};

// `exposed_us` at the start overlaps no memory traffic; `memory_us` is the bandwidth time of all CTAs
// together.
QueueTime queue_time(const CtaQueue& queue, double slots, double memory_us, double exposed_us);
// The schedule alone, which is all that kernels need whose memory time is reckoned apart.
double queue_schedule(const CtaQueue& queue, double slots);

}  // namespace tessera
