// When generated requests arrive: a renewal process with the given mean rate.
//
//   periodic   gaps of exactly 1/rate
//   poisson    exponential gaps (CV 1)
//   gamma      gaps of shape 1/cv^2 and mean 1/rate: cv > 1 bursty, cv < 1 regular
//
// Gamma renewals fit public LLM traces better than Poisson (BurstGPT; ServeGen, arXiv 2505.09999).
// Leaves out what varies over hours: for that, read client rates (formats/servegen.cpp).
#pragma once

#include <cstdint>
#include <string>

#include "traces/random.hpp"

namespace tessera {

struct ArrivalSpec {
  enum class Kind { poisson, gamma, periodic };
  Kind kind = Kind::poisson;
  double rate = 1;  // requests per second
  double cv = 1;    // of the gaps; gamma only
};

// "poisson", "gamma", "periodic"; throws InputError with the choices otherwise.
ArrivalSpec::Kind parse_arrival_kind(const std::string& name);
const char* to_string(ArrivalSpec::Kind kind);

// A gap of mean 1 and coefficient of variation `cv` from a Gamma distribution; exactly 1 for cv below 10^-6.
double unit_gamma_gap(double cv, TraceRng& rng);

class ArrivalProcess {
 public:
  // Throws InputError for a rate or CV that is not a positive, sensible number.
  ArrivalProcess(const ArrivalSpec& spec, std::uint64_t seed);

  // The next arrival; the first is at 0. Throws InputError past 100 days.
  std::int64_t next_ps();

 private:
  ArrivalSpec spec_;
  TraceRng rng_;
  std::int64_t now_ps_ = 0;
  std::int64_t count_ = 0;
};

}  // namespace tessera
