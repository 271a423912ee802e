// The time of one operator and what it is made of.
#pragma once

#include <algorithm>

namespace tessera {

// Where the time goes, in microseconds. `total` is what the model predicts; the terms are the work of
// each resource on its own (they overlap, so they need not add up to total). total >= every floor.
struct OpTime {
  double total = 0;
  double compute = 0;  // tensor cores and exponentials
  double hbm = 0;
  double l2 = 0;  // operand feed from L2
  double link = 0;
  double launch = 0;  // launch, drain, latency no resource works in
  double host = 0;
  bool in_range = true;  // inside the calibrated range of the source

  OpTime& operator+=(const OpTime& o) {
    total += o.total, compute += o.compute, hbm += o.hbm, l2 += o.l2;
    link += o.link, launch += o.launch, host += o.host;
    in_range = in_range && o.in_range;
    return *this;
  }
  friend OpTime operator*(OpTime t, double n) {
    t.total *= n, t.compute *= n, t.hbm *= n, t.l2 *= n, t.link *= n, t.launch *= n, t.host *= n;
    return t;
  }
};

// No prediction beats physics: the larger of FLOPs at the peak rate of the maximum clock and of the bytes
// that cannot be L2-resident at pin bandwidth.
inline double physics_floor_us(double flops, double peak_flops, double hbm_bytes, double hbm_bytes_per_us) {
  return std::max(peak_flops > 0 ? flops / peak_flops * 1e6 : 0.0, hbm_bytes / hbm_bytes_per_us);
}

}  // namespace tessera
