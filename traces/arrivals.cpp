#include "traces/arrivals.hpp"

#include <boost/random/exponential_distribution.hpp>
#include <boost/random/gamma_distribution.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/units.hpp"
#include "traces/request.hpp"

namespace tessera {

ArrivalSpec::Kind parse_arrival_kind(const std::string& name) {
  if (name == "poisson") return ArrivalSpec::Kind::poisson;
  if (name == "gamma") return ArrivalSpec::Kind::gamma;
  if (name == "periodic") return ArrivalSpec::Kind::periodic;
  throw InputError("arrivals: '" + name + "' is no arrival process, expected poisson, gamma or periodic" +
                   did_you_mean(name, {"poisson", "gamma", "periodic"}));
}

const char* to_string(ArrivalSpec::Kind kind) {
  switch (kind) {
    case ArrivalSpec::Kind::poisson:
      return "poisson";
    case ArrivalSpec::Kind::gamma:
      return "gamma";
    case ArrivalSpec::Kind::periodic:
      return "periodic";
  }
  return "";
}

double unit_gamma_gap(double cv, TraceRng& rng) {
  if (cv < 1e-6) return 1;  // shape beyond 10^12: no spread that a trace could show
  const double shape = 1 / (cv * cv);
  return boost::random::gamma_distribution<double>(shape, 1 / shape)(rng);
}

ArrivalProcess::ArrivalProcess(const ArrivalSpec& spec, std::uint64_t seed)
    : spec_(spec), rng_(random_stream(seed, Stream::arrivals)) {
  if (!(spec.rate > 0 && spec.rate <= 1e9))
    throw InputError("rate: " + shortest(spec.rate) + " requests/s, expected more than 0 and at most 1e9");
  if (spec.kind == ArrivalSpec::Kind::gamma && !(spec.cv > 0 && spec.cv <= 100))
    throw InputError("cv: " + shortest(spec.cv) +
                     ", expected a coefficient of variation above 0 and at most 100");
}

std::int64_t ArrivalProcess::next_ps() {
  if (count_++ == 0) return 0;
  double gap_s = 0;
  switch (spec_.kind) {
    case ArrivalSpec::Kind::periodic:
      gap_s = 0;
      break;
    case ArrivalSpec::Kind::poisson:
      gap_s = boost::random::exponential_distribution<double>(spec_.rate)(rng_);
      break;
    case ArrivalSpec::Kind::gamma:
      gap_s = unit_gamma_gap(spec_.cv, rng_) / spec_.rate;
      break;
  }
  // A periodic arrival is computed from its number, so that rounding never adds up.
  const double at_ps = spec_.kind == ArrivalSpec::Kind::periodic
                           ? static_cast<double>(count_ - 1) / spec_.rate * static_cast<double>(kPsPerSecond)
                           : static_cast<double>(now_ps_) + gap_s * static_cast<double>(kPsPerSecond);
  if (!(at_ps <= static_cast<double>(kMaxSpanPs)))
    throw InputError(
        "the generated trace spans more than 100 days, expected a higher rate or fewer requests");
  now_ps_ = spec_.kind == ArrivalSpec::Kind::periodic
                ? std::llround(at_ps)
                : now_ps_ + std::llround(gap_s * static_cast<double>(kPsPerSecond));
  return now_ps_;
}

}  // namespace tessera
