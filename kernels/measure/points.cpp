// From a plan's grids to points, in the order in which they are measured.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/measure/plan_sections.hpp"

namespace tessera::measure {
namespace {

constexpr int kMostPoints = 100'000;  // of one grid
constexpr double kUsualL2 = 50e6;     // of the card of an estimate
constexpr double kSetUp = 50e-6;      // seconds to allocate and fill a set of small buffers

// The product of a grid's lists: one vector of cells for each combination, last list fastest.
using Axes = std::vector<std::vector<std::string>>;
std::vector<std::string> texts(const Integers& values) {
  std::vector<std::string> cells;
  for (const std::int64_t v : values) cells.push_back(std::to_string(v));
  return cells;
}
std::vector<std::string> text(std::int64_t value) { return {std::to_string(value)}; }

void expand(std::vector<Point>& points, const char* kernel, std::int64_t copies, const Axes& axes) {
  const Bench& bench = bench_of(kernel);
  double count = 1;
  for (const auto& axis : axes) count *= static_cast<double>(axis.size());
  if (count > kMostPoints)
    throw InputError(fmt::format("{}: over {} points, expected fewer", kernel, kMostPoints));
  std::vector<std::size_t> at(axes.size(), 0);
  for (;;) {
    Point point{.bench = &bench, .cells = {}, .copies = copies};
    for (std::size_t i = 0; i < axes.size(); ++i) point.cells.push_back(axes[i][at[i]]);
    points.push_back(std::move(point));
    std::size_t i = axes.size();
    while (i > 0 && ++at[i - 1] == axes[i - 1].size()) at[--i] = 0;
    if (i == 0) return;
  }
}

void expand(std::vector<Point>& to, const GemmGrid& g) {
  expand(to, "gemm", g.copies, {g.gemm_dtype, texts(g.m), texts(g.n), texts(g.k)});
}
void expand_attention(std::vector<Point>& to, const char* kernel, const AttentionGrid& g,
                      const Integers& isl_tokens, const Integers& past_kv_tokens) {
  for (const std::string& dtype : g.attn_dtype)  // the cache holds what the queries are
    expand(to, kernel, g.copies,
           {texts(g.batch_size),
            texts(isl_tokens),
            text(g.num_heads),
            text(g.num_key_value_heads),
            text(g.head_dim),
            {dtype},
            {dtype},
            texts(past_kv_tokens),
            text(g.window_size_tokens)});
}
void expand(std::vector<Point>& to, const ContextGrid& g) {
  expand_attention(to, "context_attention", g, g.isl_tokens, {0});
}
void expand(std::vector<Point>& to, const GenerationGrid& g) {
  expand_attention(to, "generation_attention", g, {1}, g.past_kv_tokens);
}
void expand(std::vector<Point>& to, const StandardGrid& g) {
  expand(to, "attention_standard", g.copies,
         {texts(g.batch_size),
          texts(g.isl_tokens),
          text(g.num_heads),
          text(g.num_key_value_heads),
          text(g.head_dim),
          {"bfloat16"},
          text(g.window_size_tokens)});
}
void expand(std::vector<Point>& to, const BlockCopyGrid& g) {
  expand(to, "kv_block_copy", 0, {texts(g.block_bytes), texts(g.blocks)});
}
void expand(std::vector<Point>& to, const HbmGrid& g) { expand(to, "hbm", 0, {g.operation, texts(g.bytes)}); }
void expand(std::vector<Point>& to, const BytesGrid& g) { expand(to, "l2", 1, {texts(g.bytes)}); }
void expand(std::vector<Point>& to, const LatencyGrid& g) {
  expand(to, "latency", 1,
         {texts(g.footprint_bytes), texts(g.stride_bytes), text(g.through_l1), texts(g.sm)});
}
void expand(std::vector<Point>& to, const SramGrid& g) { expand(to, "sram", 1, {texts(g.threads)}); }
void expand(std::vector<Point>& to, const LaunchGrid& g) {
  expand(to, "launch", 1, {g.mode, texts(g.launches)});
}
void expand(std::vector<Point>& to, const HostCopyGrid& g) {
  expand(to, "host_copy", 1, {g.direction, texts(g.bytes)});
}
void expand(std::vector<Point>& to, const InFlightGrid& g) {
  expand(to, "in_flight", 1, {texts(g.ctas_per_4_sms), texts(g.loads)});
}
void expand(std::vector<Point>& to, const GatherGrid& g) {
  expand(to, "kv_gather", 0, {texts(g.block_bytes), texts(g.bytes)});
}

// i written backwards in binary, as a fraction: 0, 1/2, 1/4, 3/4, ..
double halving(std::size_t i) {
  double fraction = 0, half = 0.5;
  for (; i != 0; i >>= 1, half /= 2)
    if ((i & 1) != 0) fraction += half;
  return fraction;
}

// The indices 0 .. count - 1 in the order in which halving visits them.
std::vector<std::size_t> spread(std::size_t count) {
  std::vector<std::size_t> order;
  std::vector<bool> seen(count, false);
  for (std::size_t i = 0; order.size() < count; ++i) {
    const auto at = static_cast<std::size_t>(halving(i) * static_cast<double>(count));
    if (at < count && !seen[at]) seen[at] = true, order.push_back(at);
  }
  return order;
}

}  // namespace

Settings settings_of(const Plan& plan) {
  return {.warmup = plan.warmup, .repeats = plan.repeats, .seed = static_cast<std::uint64_t>(plan.seed)};
}

std::vector<Point> points_of(const Plan& plan) {
  struct Turn {
    double when;  // share of its section that comes before it
    std::size_t section;
    Point point;
  };
  std::vector<Turn> all;
  std::size_t section = 0;
  for_each_section(plan, [&](const char*, const auto& grids, const char*) {
    std::vector<Point> points;
    for (const auto& grid : grids) expand(points, grid);
    std::set<std::string> seen;
    std::erase_if(points, [&](const Point& p) { return !seen.insert(p.key()).second; });
    const std::vector<std::size_t> order = spread(points.size());
    for (std::size_t i = 0; i < order.size(); ++i)
      all.push_back({static_cast<double>(i) / static_cast<double>(order.size()), section, points[order[i]]});
    ++section;
  });
  std::stable_sort(all.begin(), all.end(), [](const Turn& a, const Turn& b) {
    return a.when != b.when ? a.when < b.when : a.section < b.section;
  });
  std::vector<Point> points;
  for (Turn& p : all) points.push_back(std::move(p.point));
  return points;
}

double estimated_seconds(const Point& point, const Settings& settings, double speed) {
  const Bench::Work work = point.bench->work(point);
  const double bandwidth = (work.over_pcie ? 20e9 : 1e12) * speed;
  const double op = 10e-6 + std::max(work.bytes / bandwidth, work.flops / (100e12 * speed));
  const double sets = point.copies > 0 ? static_cast<double>(point.copies)
                                       : std::min(double{kMostSets}, sets_past_l2(kUsualL2, work));
  const double ops_a_repeat =
      work.ops_a_repeat > 0 ? work.ops_a_repeat : std::max(sets, static_cast<double>(settings.min_ops));
  const double ops = ops_a_repeat * (settings.warmup + settings.repeats);
  const double set_up = 0.02 + sets * (kSetUp + 10 * work.footprint / (1e12 * speed));
  return set_up + op * ops + work.host_flops / 1e9;
}

}  // namespace tessera::measure
