// A device that KV blocks move through or rest on: a host link, a drive, a network store.
//
// n pieces of b bytes, one way, with the device to themselves take
//
//   latency + n x max(copy_us, b / rate)
//
// copy_us is the time one copy needs however small it is (a cudaMemcpyAsync call, an I/O operation, a work
// request); copies are issued while the ones before move, hence the maximum. So bandwidth by size is
// min(b / copy_us, rate). Reads go toward the GPU. Both directions together move at most both_gb_s: what is
// under way keeps its rate, what comes later has the rest.
// Left out: NUMA distance, pageable memory, drives that slow down when they fill or heat up.
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct TierDevice {
  std::string name;
  std::string title;
  std::string source;
  Sourced<double> read_gb_s;   // toward the GPU, large pieces
  Sourced<double> write_gb_s;  // away from it
  Sourced<double> both_gb_s;   // sum of both directions when both are busy
  Sourced<double> peak_gb_s;   // one way on paper; 0: the larger of the two rates
  Sourced<double> latency_us;  // before the first byte
  Sourced<double> copy_us;     // least time of one piece
  void describe(Fields& f);

  [[nodiscard]] double peak() const;
  // GB/s of reads that have the device to themselves, pieces of this size.
  [[nodiscard]] double read_rate(double piece_bytes) const;
};

// The host link of a GPU whose config names none: its achieved host-copy bandwidth both ways, the rest as
// measured on an H100 (see the constants' sources), scaled.
TierDevice host_link_of(double pcie_gb_s, const std::string& source);

}  // namespace tessera
