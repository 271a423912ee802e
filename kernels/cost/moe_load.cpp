// The power law follows the sampler of the public tables: popularity by inverse transform of a truncated
// power law, rank 0 made the heaviest. Here the experts stand at the even quantiles of that law (no sampling
// noise) and the heaviest rank is averaged over a few fixed shuffles of experts over ranks.
#include "kernels/cost/moe_load.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr int kShuffles = 8;

// Quantile q of density x^-alpha on [low, high].
double power_law_quantile(double q, double alpha, double low, double high) {
  if (std::abs(alpha - 1) < 1e-9) return low * std::pow(high / low, q);
  const double e = 1 - alpha;
  return std::pow(q * (std::pow(high, e) - std::pow(low, e)) + std::pow(low, e), 1 / e);
}

std::vector<double> assignments_per_expert(const MoeShape& s) {
  const double total = static_cast<double>(s.tokens) * s.top_k;
  const bool few = total <= s.experts;  // the sampler draws from a narrow range when most experts stay idle
  const double low = few ? 0.01 : 1, high = few ? 2 : std::max(0.8 * static_cast<double>(s.tokens), 1.01);
  std::vector<double> loads(static_cast<std::size_t>(s.experts));
  for (int i = 0; i < s.experts; ++i)
    loads[static_cast<std::size_t>(i)] = power_law_quantile((i + 0.5) / s.experts, s.power_law, low, high);
  const double scale = total / std::accumulate(loads.begin(), loads.end(), 0.0);
  for (double& load : loads) load = std::round(load * scale);
  // Rounding loses or gains a few: the most popular takes the difference, as in the sampler.
  std::sort(loads.begin(), loads.end(), std::greater<>());
  double difference = total - std::accumulate(loads.begin(), loads.end(), 0.0);
  for (double& load : loads) {
    if (difference == 0) break;
    const double step = difference > 0 ? 1.0 : load > 0 ? -1.0 : 0.0;
    load += step, difference -= step;
  }
  loads.front() += std::max(difference, -loads.front());
  return loads;
}

constexpr double kDrawnExponent = 1.2, kDrawnRange = 100;

// Chances of the experts, summing to top_k, none above 1.
std::vector<double> chances(const MoeShape& s) {
  std::vector<double> p(static_cast<std::size_t>(s.experts));
  for (int i = 0; i < s.experts; ++i)
    p[static_cast<std::size_t>(i)] =
        power_law_quantile((i + 0.5) / s.experts, kDrawnExponent, 1, kDrawnRange);
  // What the most popular cannot take goes to the others, in proportion.
  double certain = 0;
  while (true) {
    double sum = 0;
    for (const double x : p) sum += x < 1e300 ? x : 0;
    const double scale = (s.top_k - certain) / sum;
    bool more = false;
    for (double& x : p)
      if (x < 1e300 && x * scale >= 1) x = 1e301, ++certain, more = true;
    if (more && certain < s.top_k) continue;
    for (double& x : p) x = x >= 1e300 ? 1 : certain < s.top_k ? x * scale : 0;
    return p;
  }
}

ExpertLoad drawn_load(const MoeShape& s) {
  ExpertLoad load;
  const auto tokens = static_cast<double>(s.tokens);
  for (const double p : chances(s)) {
    const double touched = p >= 1 ? 1 : -std::expm1(tokens * std::log1p(-p));
    if (touched > 0) load.groups.push_back({touched / s.ep, tokens * p / touched});
  }
  return load;
}

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = state += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

ExpertLoad heaviest_rank(std::vector<double> loads, int ranks) {
  const std::size_t local = loads.size() / static_cast<std::size_t>(ranks);
  ExpertLoad result;
  std::uint64_t state = 1;
  const int shuffles = ranks == 1 ? 1 : kShuffles;
  for (int s = 0; s < shuffles; ++s) {
    for (std::size_t i = loads.size() - 1; i > 0; --i)
      std::swap(loads[i], loads[next_random(state) % (i + 1)]);
    std::size_t heaviest = 0;
    double most = -1;
    for (std::size_t begin = 0; begin + local <= loads.size(); begin += local) {
      const double sum = std::accumulate(loads.begin() + static_cast<std::ptrdiff_t>(begin),
                                         loads.begin() + static_cast<std::ptrdiff_t>(begin + local), 0.0);
      if (sum > most) most = sum, heaviest = begin;
    }
    for (std::size_t i = heaviest; i < heaviest + local; ++i)
      result.groups.push_back({1.0 / shuffles, loads[i]});
  }
  return result;
}

}  // namespace

double ExpertLoad::touched() const {
  double sum = 0;
  for (const Group& g : groups)
    if (g.rows > 0) sum += g.experts;
  return sum;
}

double ExpertLoad::rows() const {
  double sum = 0;
  for (const Group& g : groups) sum += g.experts * g.rows;
  return sum;
}

double ExpertLoad::padded_rows(int bm) const {
  double sum = 0;
  for (const Group& g : groups) sum += g.experts * std::ceil(g.rows / bm) * bm;
  return sum;
}

ExpertLoad expert_load(const MoeShape& s) {
  TESSERA_CHECK(s.experts % s.ep == 0, "ranks hold equal numbers of experts");
  if (s.drawn) return drawn_load(s);
  if (s.power_law > 0) return heaviest_rank(assignments_per_expert(s), s.ep);
  const double local = static_cast<double>(s.experts) / s.ep;
  const double assignments = static_cast<double>(s.tokens) * s.top_k / s.ep;
  const double touched = std::min(local, assignments);
  const double each = assignments / touched;
  const double few = std::floor(each), more = each - few;  // that share of experts has one more
  ExpertLoad load;
  load.groups.push_back({touched * (1 - more), few});
  if (more > 0) load.groups.push_back({touched * more, few + 1});
  return load;
}

bool gated_in_tables(std::int64_t hidden, std::int64_t expert_width, int experts) {
  const auto is = [&](std::int64_t h, std::int64_t w, int e) {
    return hidden == h && expert_width == w && experts == e;
  };
  return !(is(2688, 1856, 128) || is(4096, 2688, 512) || is(2048, 5120, 512));
}

}  // namespace tessera
