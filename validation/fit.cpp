// Levenberg-Marquardt in an unbounded space. A parameter p in [low, high] is a position s in [0, 1] of that
// range, linear or logarithmic, and s = 1 / (1 + exp(-u)), so every u is inside the box. Loss: mean of
// 2 w^2 (sqrt(1 + (r/w)^2) - 1), soft-L1 (= r^2 near zero), by iterative reweighting with 1/sqrt(1 +
// (r/w)^2). The models hold min() and ceil(): the numeric Jacobian takes a step of 1 % of a unit, and a
// pattern search along the axes finishes what the gradient cannot see. A prior is one more row,
// noise (x - start) / prior_sd, with the noise of the rows (first a guess, then as found): as much as a fit
// with that noise would have it weigh. Covariances: uncertainty.cpp. After Levenberg 1944, Marquardt 1963.
#include "validation/fit.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kStep = 0.01;   // of u, for the numeric Jacobian
constexpr double kEdge = 0.002;  // a start on a bound is moved this far inside
constexpr double kAtBound = 0.01;
constexpr double kNoiseGuess = 0.08;      // of ln(predicted / measured), before the first fit
constexpr double kLeastNoise = 0.002;     // a prior keeps some weight when rows fit perfectly
constexpr double kNormalMedian = 1.4826;  // standard deviation / median absolute deviation

double value_at(const Parameter& p, double u) {
  const double s = 1 / (1 + std::exp(-u));
  if (p.scale == Scale::log) return std::exp(std::log(p.low) + s * (std::log(p.high) - std::log(p.low)));
  return p.low + s * (p.high - p.low);
}

double position(const Parameter& p, double value) {
  if (p.scale == Scale::log) return std::log(value / p.low) / std::log(p.high / p.low);
  return (value - p.low) / (p.high - p.low);
}

double noise_of(std::vector<double> residuals) {
  for (double& r : residuals) r = std::abs(r);
  const auto middle = residuals.begin() + static_cast<std::ptrdiff_t>(residuals.size() / 2);
  std::nth_element(residuals.begin(), middle, residuals.end());
  return std::max(kLeastNoise, kNormalMedian * *middle);
}

double logit(double s) {
  const double inside = std::min(std::max(s, kEdge), 1 - kEdge);
  return std::log(inside / (1 - inside));
}

class Problem {
 public:
  Problem(const std::vector<Parameter>& parameters, std::size_t count, const Residuals& residuals,
          double width)
      : parameters_(parameters),
        residuals_(residuals),
        width_(width),
        values_(parameters.size()),
        count_(count) {
    for (std::size_t j = 0; j < parameters.size(); ++j)
      if (parameters[j].prior_sd > 0) priors_.push_back(j);
  }

  Eigen::VectorXd residuals(const Eigen::VectorXd& u) {
    ++evaluations;
    for (std::size_t i = 0; i < values_.size(); ++i)
      values_[i] = value_at(parameters_[i], u[static_cast<Eigen::Index>(i)]);
    Eigen::VectorXd r(static_cast<Eigen::Index>(count_ + priors_.size()));
    residuals_(values_, {r.data(), count_});
    for (std::size_t i = 0; i < priors_.size(); ++i) {
      const Parameter& p = parameters_[priors_[i]];
      r[static_cast<Eigen::Index>(count_ + i)] =
          noise * (p.coordinate(values_[priors_[i]]) - p.coordinate(p.start)) / p.prior_sd;
    }
    TESSERA_CHECK(r.allFinite(), "residuals are finite everywhere in the box");
    return r;
  }

  [[nodiscard]] double cost(const Eigen::VectorXd& r) const {
    if (width_ == 0) return r.squaredNorm() / static_cast<double>(count_);
    const auto rows = static_cast<Eigen::Index>(count_);
    double sum = r.tail(r.size() - rows).squaredNorm();
    for (const double x : r.head(rows))
      sum += 2 * width_ * width_ * (std::sqrt(1 + x * x / (width_ * width_)) - 1);
    return sum / static_cast<double>(count_);
  }

  // Weights whose weighted squares have the gradient of the loss.
  [[nodiscard]] Eigen::VectorXd weights(const Eigen::VectorXd& r) const {
    Eigen::VectorXd w = Eigen::VectorXd::Ones(r.size());
    if (width_ > 0)
      for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(count_); ++i)
        w[i] = 1 / std::sqrt(1 + r[i] * r[i] / (width_ * width_));
    return w;
  }
  [[nodiscard]] bool has_priors() const { return !priors_.empty(); }

  int evaluations = 0;
  double noise = kNoiseGuess;  // of the rows, which a prior is weighed against

 private:
  const std::vector<Parameter>& parameters_;
  const Residuals& residuals_;
  double width_;
  std::vector<double> values_;
  std::size_t count_;
  std::vector<std::size_t> priors_;  // parameters that have one
};

struct Point {
  Eigen::VectorXd u;
  double cost;
};

Point levenberg_marquardt(Problem& problem, Eigen::VectorXd u, int iterations) {
  Eigen::VectorXd r = problem.residuals(u);
  double cost = problem.cost(r);
  double damping = 1e-2;
  for (int i = 0; i < iterations; ++i) {
    Eigen::MatrixXd jacobian(r.size(), u.size());
    for (Eigen::Index j = 0; j < u.size(); ++j) {
      Eigen::VectorXd moved = u;
      moved[j] += kStep;
      jacobian.col(j) = (problem.residuals(moved) - r) / kStep;
    }
    const Eigen::VectorXd w = problem.weights(r);
    const Eigen::MatrixXd normal = jacobian.transpose() * w.asDiagonal() * jacobian;
    const Eigen::VectorXd gradient = jacobian.transpose() * w.cwiseProduct(r);
    const double before = cost;
    bool better = false;
    while (!better && damping < 1e8) {
      Eigen::MatrixXd damped = normal;
      // The small constant keeps a parameter without influence from making the system singular.
      damped.diagonal() += damping * normal.diagonal() + Eigen::VectorXd::Constant(u.size(), 1e-9);
      Eigen::VectorXd step = damped.ldlt().solve(-gradient);
      for (double& s : step) s = std::clamp(s, -2.0, 2.0);  // a trust region: exp() saturates beyond
      const Eigen::VectorXd next = (u + step).cwiseMax(-8).cwiseMin(8);
      const Eigen::VectorXd next_r = problem.residuals(next);
      const double next_cost = problem.cost(next_r);
      better = next_cost < cost;
      if (better) u = next, r = next_r, cost = next_cost;
      damping *= better ? 0.2 : 5;
    }
    if (!better || before - cost < 1e-6 * before) break;
    damping = std::max(damping, 1e-6);
  }
  return {u, cost};
}

Point pattern_search(Problem& problem, Point best) {
  for (double step = 3.2; step > 0.02; step /= 2)  // from across the box to a touch
    for (Eigen::Index j = 0; j < best.u.size(); ++j)
      for (const double sign : {1.0, -1.0}) {
        Eigen::VectorXd moved = best.u;
        moved[j] = std::clamp(moved[j] + sign * step, -8.0, 8.0);
        const double cost = problem.cost(problem.residuals(moved));
        if (cost < best.cost) best = {moved, cost};
      }
  return best;
}

// The i-th point of the van der Corput sequence in a prime base: restarts spread evenly, the same on every
// run.
double low_discrepancy(int i, int base) {
  double result = 0, digit = 1;
  for (; i > 0; i /= base) digit /= base, result += digit * (i % base);
  return result;
}

}  // namespace

double Parameter::coordinate(double value) const { return scale == Scale::log ? std::log(value) : value; }
double Parameter::value_at(double x) const { return scale == Scale::log ? std::exp(x) : x; }

FitResult fit(const std::vector<Parameter>& parameters, std::size_t residual_count,
              const Residuals& residuals, const FitOptions& options) {
  constexpr int kPrimes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53};
  TESSERA_CHECK(!parameters.empty() && parameters.size() <= std::size(kPrimes), "one to sixteen parameters");
  TESSERA_CHECK(residual_count > 0, "a fit needs rows");
  for (const Parameter& p : parameters)
    TESSERA_CHECK(p.low < p.high && (p.scale == Scale::linear || p.low > 0), "a box with an inside");

  Problem problem(parameters, residual_count, residuals, options.robust_width);
  const auto n = static_cast<Eigen::Index>(parameters.size());
  Point best{{}, std::numeric_limits<double>::infinity()};
  for (int start = 0; start <= options.restarts; ++start) {
    Eigen::VectorXd u(n);
    for (Eigen::Index j = 0; j < n; ++j) {
      const Parameter& p = parameters[static_cast<std::size_t>(j)];
      u[j] = logit(start == 0 ? position(p, p.start) : low_discrepancy(start, kPrimes[j]));
    }
    Point found = levenberg_marquardt(problem, u, options.iterations);
    if (found.cost < best.cost) best = std::move(found);
  }
  if (options.coordinate_polish) {
    best = pattern_search(problem, best);
    best = levenberg_marquardt(problem, best.u, options.iterations);
  }
  if (problem.has_priors()) {
    const Eigen::VectorXd r = problem.residuals(best.u);
    problem.noise = noise_of({r.data(), r.data() + residual_count});
    best = levenberg_marquardt(problem, best.u, options.iterations);
    if (options.coordinate_polish) best = pattern_search(problem, best);
  }

  FitResult result;
  result.cost = best.cost;
  result.evaluations = problem.evaluations;
  for (Eigen::Index j = 0; j < n; ++j) {
    const Parameter& p = parameters[static_cast<std::size_t>(j)];
    result.values.push_back(value_at(p, best.u[j]));
    const double s = position(p, result.values.back());
    if (s < kAtBound || s > 1 - kAtBound) result.at_bound.push_back(p.name);
  }
  return result;
}

}  // namespace tessera
