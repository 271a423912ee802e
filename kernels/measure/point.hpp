// One thing to measure, and what measuring it gave.
//
// A point is a bench (a kernel of the measuring program) and a cell for each of the bench's columns. The
// registry in benches.cpp lists them; adding a kernel is a bench in a *_bench.cpp and one line there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/measure/machine.hpp"

namespace tessera::measure {

struct Bench;

struct Point {
  const Bench* bench = nullptr;
  std::vector<std::string> cells;  // one for each of bench->columns
  std::int64_t copies = 0;         // sets of buffers taken in turn; 0: as many as pass the L2 twice over

  [[nodiscard]] const std::string& text(std::string_view column) const;
  [[nodiscard]] std::int64_t number(std::string_view column) const;
  [[nodiscard]] bool has(std::string_view column) const;
  [[nodiscard]] std::string key() const;  // tells points of one bench apart
};

struct Settings {
  int warmup = 3;
  int repeats = 20;
  std::int64_t min_ops = 8;  // ops between two events: short kernels need several
  std::uint64_t seed = 1;
};

struct Sample {
  std::string source;            // kernel_source
  std::vector<double> times_ms;  // of one op, one for each repeat
  std::int64_t copies = 1;
  // Against the host reference, relative, in the Euclidean norm; none where nothing was checked.
  std::optional<double> error;
  std::vector<double> results;  // one for each of bench->results

  void worse(double off) { error = std::max(error.value_or(0), off); }
  [[nodiscard]] bool wrong(const Bench& bench) const;
  [[nodiscard]] double median_ms() const { return quantile_ms(0.5); }
  [[nodiscard]] double quantile_ms(double q) const;  // linear between ranks; needs a time
};

struct Bench {
  const char* kernel;                // names the table: gemm, generation_attention, ...
  std::vector<std::string> columns;  // that tell points apart, as in the public tables where they have them
  std::vector<std::string> results;  // beside the time
  double tolerance;                  // of the error
  // Bytes and FLOPs of one op, for the estimate of how long a point takes, and the memory it needs.
  struct Work {
    double bytes = 0, flops = 0;
    double footprint = 0;   // allocated for one set of buffers
    double shared = 0;      // allocated once for all sets
    double touched = 0;     // of a set by one op; 0: its footprint
    double host_flops = 0;  // of the check
    bool over_pcie = false;
    double ops_a_repeat = 0;  // 0: settings.min_ops
  };
  Work (*work)(const Point&);
  // Throws RunError where the machine cannot: too little memory, no library.
  Sample (*run)(Machine&, const Point&, const Settings&);
};

const std::vector<Bench>& benches();
const Bench& bench_of(std::string_view kernel);

// Sets of buffers for a point: as many as it asks for, or, if 0, so many that by the time one is used again
// the L2 has seen twice its size of others. Throws RunError where they do not fit in 80 % of the memory; and
// where buffers are so small that it would take more than kMostSets of them.
inline constexpr std::int64_t kMostSets = 1 << 16;
std::int64_t sets_of_buffers(const DeviceInfo& device, const Bench::Work& work, std::int64_t asked);
double sets_past_l2(double l2_bytes, const Bench::Work& work);

// Ops of one repeat: at least settings.min_ops and a whole number of rounds through the copies.
Timing timing_of(const Settings& settings, std::int64_t copies);

// |a - b| / |b| in the Euclidean norm; infinite where a is not finite.
double relative_error(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace tessera::measure
