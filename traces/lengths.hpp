// How long generated prompts and answers are. Each distribution is an inverse CDF: a draw is one
// uniform number u in (0, 1), so draws can be stratified (see generate.hpp) and need no library.
//
//   fixed:N                          always N tokens
//   lognormal:mean=M,cv=C            exp(mu + sigma z) with that mean and coefficient of variation
//   lognormal:p50=A,p90=B            ... with those quantiles; `max=` cuts the tail off
//   quantiles:p50=A,p90=B,max=X,...  exactly the published quantiles (any of min p25 p50 p75 p90 p95 p99
//                                    max): between neighbours a < b, Q = a + (b - a) t^k with t from 0
//                                    to 1; the bend k is that which gives `mean=M` (1 without it)
//   trace:FILE                       the rows of a trace, drawn again with equal chance (pairs kept)
//
// Draws are rounded to whole tokens; a cut distribution is the conditional one, nothing is clamped.
// Leaves out correlation of prompt and answer, except in trace:FILE.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

class LengthCurve {
 public:
  // Any form above but trace:FILE. Throws InputError that says what is wrong.
  static LengthCurve parse(const std::string& text);
  [[nodiscard]] std::int32_t at(double u) const;

 private:
  enum class Kind { fixed, lognormal, quantiles };
  struct Knot {
    double u;
    double tokens;
  };
  [[nodiscard]] double value(double u) const;

  Kind kind_ = Kind::fixed;
  double tokens_ = 1;
  double mu_ = 0, sigma_ = 0, u_low_ = 0, u_high_ = 1;  // lognormal, cut to [u_low, u_high]
  std::vector<Knot> knots_;
  double bend_ = 1;
};

// Lengths of prompt and answer together.
struct LengthSpec {
  std::string input;  // a curve's text
  std::string output;
  std::string trace;  // or a trace file to draw rows from; then the two above are empty
};

class LengthSampler {
 public:
  explicit LengthSampler(const LengthSpec& spec);
  // {input, output} at two uniform numbers; rows of a trace use the first only.
  [[nodiscard]] std::pair<std::int32_t, std::int32_t> at(double u_input, double u_output) const;

 private:
  LengthCurve input_, output_;
  std::vector<std::pair<std::int32_t, std::int32_t>> rows_;
};

}  // namespace tessera
