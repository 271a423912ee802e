#include "traces/lengths.hpp"

#include <algorithm>
#include <boost/math/special_functions/erf.hpp>
#include <cmath>
#include <map>
#include <numbers>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "traces/numbers.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

double normal_quantile(double u) { return std::numbers::sqrt2 * boost::math::erf_inv(2 * u - 1); }
double normal_cdf(double z) { return 0.5 * boost::math::erfc(-z / std::numbers::sqrt2); }

const std::vector<std::pair<std::string, double>>& quantile_names() {
  static const std::vector<std::pair<std::string, double>> names = {
      {"min", 0},   {"p25", 0.25}, {"p50", 0.5},  {"p75", 0.75},
      {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1}};
  return names;
}

[[noreturn]] void refuse(const std::string& text, const std::string& problem) {
  throw InputError("lengths '" + text + "': " + problem);
}

// "mean=1155,p50=1020" as a map, each value a positive number of at most kMaxTokens.
std::map<std::string, double> read_keys(const std::string& text, std::string_view list,
                                        const std::vector<std::string>& known) {
  std::map<std::string, double> values;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view item = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    const std::size_t equals = item.find('=');
    const std::string key(item.substr(0, equals));
    if (equals == std::string_view::npos || std::find(known.begin(), known.end(), key) == known.end())
      refuse(text, "'" + std::string(item) + "' is not understood, expected " + join(known, "=, ") + "=" +
                       did_you_mean(key, known));
    const auto value = parse_decimal(item.substr(equals + 1));
    if (value.problem != nullptr)
      refuse(text, key + ": " + describe(item.substr(equals + 1), value.problem) + ", expected a number");
    if (!(value.value > 0) || value.value > static_cast<double>(kMaxTokens))
      refuse(text, key + ": " + describe(item.substr(equals + 1), "is out of range") +
                       ", expected more than 0 and at most 100,000,000");
    if (!values.emplace(key, value.value).second) refuse(text, key + " stands twice");
  }
  return values;
}

}  // namespace

LengthCurve LengthCurve::parse(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string_view rest =
      colon == std::string::npos ? std::string_view{} : std::string_view(text).substr(colon + 1);
  LengthCurve curve;
  if (kind == "fixed") {
    const auto tokens = parse_integer(rest, kMaxTokens);
    if (tokens.problem != nullptr || tokens.value == 0)
      refuse(text, describe(rest, tokens.problem != nullptr ? tokens.problem : "is no length") +
                       ", expected fixed:N with N from 1 to 100,000,000");
    curve.tokens_ = static_cast<double>(tokens.value);
    return curve;
  }
  if (kind == "lognormal") {
    curve.kind_ = Kind::lognormal;
    const auto keys = read_keys(text, rest, {"mean", "cv", "p50", "p90", "max"});
    const bool by_mean =
        keys.count("mean") == 1 && keys.count("cv") == 1 && keys.count("p50") + keys.count("p90") == 0;
    const bool by_quantiles =
        keys.count("p50") == 1 && keys.count("p90") == 1 && keys.count("mean") + keys.count("cv") == 0;
    if (!by_mean && !by_quantiles) refuse(text, "expected either mean= and cv=, or p50= and p90=");
    if (by_mean) {
      const double cv = keys.at("cv");
      curve.sigma_ = std::sqrt(std::log1p(cv * cv));
      curve.mu_ = std::log(keys.at("mean")) - 0.5 * curve.sigma_ * curve.sigma_;
    } else {
      if (keys.at("p90") <= keys.at("p50")) refuse(text, "p90 must be above p50");
      curve.mu_ = std::log(keys.at("p50"));
      curve.sigma_ = std::log(keys.at("p90") / keys.at("p50")) / normal_quantile(0.9);
    }
    const double max = keys.count("max") == 1 ? keys.at("max") : static_cast<double>(kMaxTokens);
    curve.u_low_ = normal_cdf((std::log(0.5) - curve.mu_) / curve.sigma_);
    curve.u_high_ = normal_cdf((std::log(max + 0.5) - curve.mu_) / curve.sigma_);
    if (!(curve.u_high_ - curve.u_low_ > 1e-6)) refuse(text, "nothing is left between 1 token and max");
    return curve;
  }
  if (kind == "quantiles") {
    curve.kind_ = Kind::quantiles;
    std::vector<std::string> known{"mean"};
    for (const auto& [name, u] : quantile_names()) known.push_back(name);
    auto keys = read_keys(text, rest, known);
    keys.emplace("min", 1.0);
    if (keys.count("max") == 0) refuse(text, "max= is missing, expected the largest length");
    for (const auto& [name, u] : quantile_names()) {
      if (keys.count(name) == 0) continue;
      if (!curve.knots_.empty() && keys.at(name) < curve.knots_.back().tokens)
        refuse(text, name + " is below the quantile before it");
      curve.knots_.push_back({u, keys.at(name)});
    }
    if (keys.count("mean") == 1) {
      double low = 0, high = 0;
      for (std::size_t i = 1; i < curve.knots_.size(); ++i) {
        low += (curve.knots_[i].u - curve.knots_[i - 1].u) * curve.knots_[i - 1].tokens;
        high += (curve.knots_[i].u - curve.knots_[i - 1].u) * curve.knots_[i].tokens;
      }
      const double mean = keys.at("mean");
      if (!(mean > low && mean < high))
        refuse(text, "no distribution with these quantiles has mean " + shortest(mean) +
                         ", expected between " + shortest(low) + " and " + shortest(high));
      // Each piece has mean a + (b - a) / (k + 1), so mean = low + (high - low) / (k + 1).
      curve.bend_ = (high - low) / (mean - low) - 1;
    }
    return curve;
  }
  refuse(text, "expected fixed:, lognormal:, quantiles: or trace:" +
                   did_you_mean(kind, {"fixed", "lognormal", "quantiles", "trace"}));
}

double LengthCurve::value(double u) const {
  switch (kind_) {
    case Kind::fixed:
      return tokens_;
    case Kind::lognormal:
      return std::exp(mu_ + sigma_ * normal_quantile(u_low_ + u * (u_high_ - u_low_)));
    case Kind::quantiles:
      break;
  }
  const auto above = std::upper_bound(knots_.begin() + 1, knots_.end() - 1, u,
                                      [](double x, const Knot& k) { return x < k.u; });
  const Knot& b = *above;
  const Knot& a = *(above - 1);
  return a.tokens + (b.tokens - a.tokens) * std::pow((u - a.u) / (b.u - a.u), bend_);
}

std::int32_t LengthCurve::at(double u) const {
  const long long tokens = std::llround(value(u));
  return static_cast<std::int32_t>(
      std::max(tokens, 1LL));  // u_low keeps it there but for the last bit of erf
}

LengthSampler::LengthSampler(const LengthSpec& spec) {
  if (spec.trace.empty()) {
    input_ = LengthCurve::parse(spec.input);
    output_ = LengthCurve::parse(spec.output);
    return;
  }
  ReadOptions options;
  options.need_arrivals = false;
  const auto trace = open_trace(spec.trace, options);
  Request request;
  while (trace->next(request)) rows_.emplace_back(request.input_tokens, request.output_tokens);
  TESSERA_CHECK(!rows_.empty(), "open_trace refuses a trace without requests");
}

std::pair<std::int32_t, std::int32_t> LengthSampler::at(double u_input, double u_output) const {
  if (rows_.empty()) return {input_.at(u_input), output_.at(u_output)};
  return rows_[static_cast<std::size_t>(u_input * static_cast<double>(rows_.size()))];
}

}  // namespace tessera
