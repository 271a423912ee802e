// With the Jacobian J of the residuals in the coordinates of the parameters (value or logarithm), the pull of
// a row on the robust loss y = w r with w = (1 + (r / width)^2)^-1/2, its slope y' = w^3, noise s^2 = sum y^2
// / (n - p) / mean(y') and precision P of what is known beforehand,
//   covariance = s^2 A^-1,  A = J' diag(y') J + s^2 P                     (Gauss-Newton)
//   or A^-1 (n / (n - p) J' diag(y^2) J + s^2 s^2 P) A^-1     (rows of unequal noise; Huber 1967, White 1980)
// whichever is larger for a parameter. A fit gives an interval for every parameter, and who reads them reads
// them together: 95 % is the chance that all of the fit's intervals hold, so each alone is at 0.95^(1/p) of
// Student's t, which is enough whatever their correlation (Sidak 1967); with a dozen parameters an interval
// is 1.46 times as wide as one alone would be. P holds the prior, and always the range as a
// uniform one (12 / width^2), so that a direction without data has a finite variance instead of none.
// `unknown` and the inseparable pairs come from the Gauss-Newton form with the range alone: what the rows
// say by themselves. The models bend: derivatives are central, first over 2 % of the range, then over the
// standard deviation found. Leaves out: correlation of errors between neighbouring shapes; where the model
// is wrong rather than the measurement noisy, cross-validation says how much, not the interval.
#include "validation/uncertainty.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace tessera {
namespace {

constexpr double kFirstStep = 0.02;  // of the range
constexpr double kLeastStep = 0.002, kMostStep = 0.1;
constexpr double kInseparable = 0.95;  // |correlation|
constexpr double kMattering = 0.05;    // a pair is named only where its members' deviation is this share of
                                       // their range's: both known well enough is no trouble

constexpr double kConfidence = 0.95;  // that all intervals of a fit hold

using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

class Derivatives {
 public:
  Derivatives(const std::vector<Parameter>& parameters, const std::vector<double>& values, std::size_t count,
              const Residuals& residuals)
      : parameters_(parameters), values_(values), count_(count), residuals_(residuals) {}

  [[nodiscard]] Vector at(std::size_t moved, double coordinate) const {
    std::vector<double> values = values_;
    if (moved < values.size()) values[moved] = parameters_[moved].value_at(coordinate);
    Vector r(static_cast<Eigen::Index>(count_));
    residuals_(values, {r.data(), count_});
    return r;
  }
  [[nodiscard]] Vector here() const { return at(values_.size(), 0); }
  // Central, one-sided where the range ends.
  [[nodiscard]] Vector column(std::size_t j, double step) const {
    const Parameter& p = parameters_[j];
    const double x = p.coordinate(values_[j]);
    const double low = std::max(p.coordinate(p.low), x - step),
                 high = std::min(p.coordinate(p.high), x + step);
    return (at(j, high) - at(j, low)) / (high - low);
  }

 private:
  const std::vector<Parameter>& parameters_;
  const std::vector<double>& values_;
  std::size_t count_;
  const Residuals& residuals_;
};

}  // namespace

double interval_factor(std::size_t intervals, double freedom) {
  const double each = std::pow(kConfidence, 1 / static_cast<double>(intervals));
  return boost::math::quantile(boost::math::students_t(freedom), (1 + each) / 2);
}

Uncertainty uncertainty_of(const std::vector<Parameter>& parameters, const std::vector<double>& values,
                           std::size_t residual_count, const Residuals& residuals,
                           const FitOptions& options) {
  const auto p = static_cast<Eigen::Index>(parameters.size());
  const Derivatives derivatives(parameters, values, residual_count, residuals);
  const Vector r = derivatives.here();
  Vector w = Vector::Ones(r.size());
  if (options.robust_width > 0) w = (1 + (r.array() / options.robust_width).square()).rsqrt();
  const double freedom = std::max(1.0, static_cast<double>(residual_count) - static_cast<double>(p));
  const Vector pulls = w.cwiseProduct(r);
  const Vector slopes = w.array().cube();
  const double noise2 = std::max(1e-12, pulls.squaredNorm() / freedom / slopes.mean());

  Vector range(p), prior(p), step(p);
  for (Eigen::Index j = 0; j < p; ++j) {
    const Parameter& parameter = parameters[static_cast<std::size_t>(j)];
    range[j] = 12 / (parameter.width() * parameter.width());
    prior[j] = range[j] + (parameter.prior_sd > 0 ? 1 / (parameter.prior_sd * parameter.prior_sd) : 0);
    step[j] = kFirstStep * parameter.width();
  }
  Matrix jacobian(r.size(), p), of_rows;
  Vector sd;
  for (int round = 0; round < 2; ++round) {
    for (Eigen::Index j = 0; j < p; ++j)
      jacobian.col(j) = derivatives.column(static_cast<std::size_t>(j), step[j]);
    Matrix normal = jacobian.transpose() * slopes.asDiagonal() * jacobian;
    normal.diagonal() += noise2 * range;
    of_rows = noise2 * normal.ldlt().solve(Matrix::Identity(p, p));
    sd = of_rows.diagonal().cwiseSqrt();
    for (Eigen::Index j = 0; j < p; ++j) {
      const double width = parameters[static_cast<std::size_t>(j)].width();
      step[j] = std::clamp(sd[j], kLeastStep * width, kMostStep * width);
    }
  }
  Matrix normal = jacobian.transpose() * slopes.asDiagonal() * jacobian;
  normal.diagonal() += noise2 * prior;
  const Matrix inverse = normal.ldlt().solve(Matrix::Identity(p, p));
  const double inflated = static_cast<double>(residual_count) / freedom;
  Matrix scatter = inflated * (jacobian.transpose() * pulls.cwiseAbs2().asDiagonal() * jacobian);
  scatter.diagonal() += noise2 * noise2 * prior;
  const Vector robust = (inverse * scatter * inverse).diagonal().cwiseMax(0).cwiseSqrt();
  const Vector both = robust.cwiseMax((noise2 * inverse.diagonal()).cwiseSqrt());

  Uncertainty result;
  const double factor = interval_factor(parameters.size(), freedom);
  for (Eigen::Index j = 0; j < p; ++j) {
    const auto i = static_cast<std::size_t>(j);
    const Parameter& parameter = parameters[i];
    const double x = parameter.coordinate(values[i]), half = factor * both[j];
    result.low.push_back(std::max(parameter.low, parameter.value_at(x - half)));
    result.high.push_back(std::min(parameter.high, parameter.value_at(x + half)));
    result.unknown.push_back(std::min(1.0, sd[j] * std::sqrt(range[j])));
  }
  for (Eigen::Index a = 0; a < p; ++a)
    for (Eigen::Index b = a + 1; b < p; ++b) {
      const double correlation = of_rows(a, b) / (sd[a] * sd[b]);
      const auto i = static_cast<std::size_t>(a), k = static_cast<std::size_t>(b);
      if (std::abs(correlation) >= kInseparable &&
          std::min(result.unknown[i], result.unknown[k]) >= kMattering)
        result.inseparable.push_back({parameters[i].name, parameters[k].name, correlation});
    }
  std::stable_sort(result.inseparable.begin(), result.inseparable.end(),
                   [](const Inseparable& a, const Inseparable& b) {
                     return std::abs(a.correlation) > std::abs(b.correlation);
                   });
  return result;
}

}  // namespace tessera
