#include "kernels/measure/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "models/base/text.hpp"

namespace tessera::measure {
namespace {

constexpr int kMostPoints = 100'000;  // of one grid
constexpr double kMostTokens = 1 << 24, kMostBytes = 1e12, kMostCount = 1 << 20;

void sizes(Fields& f, const char* key, Integers& values, const char* doc, double least, double most,
           const char* unit = "") {
  f.list(key, values, {.doc = doc, .unit = unit, .min = least, .max = most});
  f.check(!values.empty(), key, "is empty, expected at least one value");
}

void multiple_of(Fields& f, const char* key, const Integers& values, std::int64_t of) {
  for (const std::int64_t v : values)
    f.check(v % of == 0, key, fmt::format("{} is not a multiple of {}", v, of));
}

void names(Fields& f, const char* key, Names& values, const Names& known, const char* doc) {
  f.list(key, values, {.doc = doc});
  f.check(!values.empty(), key, "is empty, expected at least one of " + join(known, " | "));
  for (const std::string& v : values)
    f.check(std::find(known.begin(), known.end(), v) != known.end(), key,
            fmt::format("unknown value '{}', expected {}{}", v, join(known, " | "), did_you_mean(v, known)));
}

void copies_field(Fields& f, std::int64_t& copies) {
  f.field(
      "copies", copies,
      {.doc = "sets of buffers taken in turn; 0: as many as pass the L2 twice over", .min = 0, .max = 64});
}

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

// f(grids) for every section of a plan.
template <class P, class F>
void for_each_section(P& plan, F&& f) {
  f("gemm", plan.gemm, "y = x W^T through the GEMM library");
  f("context_attention", plan.context_attention, "paged prefill without history");
  f("generation_attention", plan.generation_attention, "paged decode, windowed too");
  f("attention_standard", plan.attention_standard, "unfused attention");
  f("kv_block_copy", plan.kv_block_copy, "copies of KV blocks in a pool");
  f("hbm", plan.hbm, "streams through HBM");
  f("l2", plan.l2, "read bandwidth over footprints");
  f("latency", plan.latency, "pointer chases");
  f("sram", plan.sram, "shared-memory bandwidth");
  f("launch", plan.launch, "empty kernels");
  f("host_copy", plan.host_copy, "pinned host memory to and from the card");
  f("in_flight", plan.in_flight, "HBM bandwidth against bytes in flight");
  f("kv_gather", plan.kv_gather, "blocks read in random order");
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

void GemmGrid::describe(Fields& f) {
  names(f, "gemm_dtype", gemm_dtype, {"bfloat16", "float16"}, "of x, W and y");
  sizes(f, "m", m, "tokens", 1, kMostTokens);
  sizes(f, "n", n, "output features", 8, kMostTokens);
  sizes(f, "k", k, "input features", 8, kMostTokens);
  multiple_of(f, "n", n, 8), multiple_of(f, "k", k, 8);
  copies_field(f, copies);
}

void AttentionGrid::describe(Fields& f) {
  f.field("num_heads", num_heads, {.doc = "query heads of one GPU", .min = 1, .max = 1024});
  f.field("num_key_value_heads", num_key_value_heads, {.doc = "KV heads of one GPU", .min = 1, .max = 1024});
  f.check(num_key_value_heads >= 1 && num_heads % num_key_value_heads == 0, "num_key_value_heads",
          fmt::format("{} does not divide num_heads {}", num_key_value_heads, num_heads));
  f.field("head_dim", head_dim, {.doc = "64 or 128"});
  f.check(head_dim == 64 || head_dim == 128, "head_dim",
          fmt::format("{}: kernels are compiled for 64 and 128", head_dim));
  f.field("window_size_tokens", window_size_tokens,
          {.doc = "0: full attention", .min = 0, .max = kMostTokens});
  sizes(f, "batch_size", batch_size, "sequences", 1, 65536);
  copies_field(f, copies);
}
void ContextGrid::describe(Fields& f) {
  AttentionGrid::describe(f);
  names(f, "attn_dtype", attn_dtype, {"bfloat16", "float16"}, "of queries and cache");
  sizes(f, "isl_tokens", isl_tokens, "new tokens a sequence", 1, kMostTokens);
}
void GenerationGrid::describe(Fields& f) {
  AttentionGrid::describe(f);
  names(f, "attn_dtype", attn_dtype, {"bfloat16", "float16"}, "of queries and cache");
  sizes(f, "past_kv_tokens", past_kv_tokens, "cached tokens a sequence", 0, kMostTokens);
}
void StandardGrid::describe(Fields& f) {
  AttentionGrid::describe(f);
  sizes(f, "isl_tokens", isl_tokens, "queries and keys a sequence", 1, 65536);
}

void BlockCopyGrid::describe(Fields& f) {
  sizes(f, "block_bytes", block_bytes, "of one block", 16, kMostBytes, "bytes");
  multiple_of(f, "block_bytes", block_bytes, 16);
  sizes(f, "blocks", blocks, "pairs copied by one launch", 1, kMostCount);
}
void HbmGrid::describe(Fields& f) {
  names(f, "operation", operation, {"read", "write", "copy"}, "of the stream");
  sizes(f, "bytes", bytes, "read, written or copied", 4096, kMostBytes, "bytes");
  multiple_of(f, "bytes", bytes, 16);
}
void BytesGrid::describe(Fields& f) {
  sizes(f, "bytes", bytes, "footprint", 16384, kMostBytes, "bytes");
  multiple_of(f, "bytes", bytes, 16384);
}
void LatencyGrid::describe(Fields& f) {
  sizes(f, "footprint_bytes", footprint_bytes, "of the chain", 1024, kMostBytes, "bytes");
  sizes(f, "stride_bytes", stride_bytes, "between two places", 8, 1 << 30, "bytes");
  multiple_of(f, "stride_bytes", stride_bytes, 8);
  for (const std::int64_t footprint : footprint_bytes)
    for (const std::int64_t stride : stride_bytes)
      f.check(stride <= 0 || footprint % stride == 0, "footprint_bytes",
              fmt::format("{} is not a multiple of stride {}", footprint, stride));
  f.field("through_l1", through_l1, {.doc = "loads may hit L1"});
  sizes(f, "sm", sm, "where the chain is followed", 0, 1023);
}
void SramGrid::describe(Fields& f) {
  sizes(f, "threads", threads, "of the one CTA an SM has", 32, 1024);
  multiple_of(f, "threads", threads, 32);
}
void LaunchGrid::describe(Fields& f) {
  names(f, "mode", mode, {"stream", "graph"}, "how kernels are enqueued");
  sizes(f, "launches", launches, "one after another", 1, 10000);
}
void HostCopyGrid::describe(Fields& f) {
  names(f, "direction", direction, {"to_device", "to_host"}, "of the copy");
  sizes(f, "bytes", bytes, "of one copy", 16, kMostBytes, "bytes");
  multiple_of(f, "bytes", bytes, 16);
}
void InFlightGrid::describe(Fields& f) {
  sizes(f, "ctas_per_4_sms", ctas_per_4_sms, "of 256 threads; 4: one an SM", 1, 32);
  sizes(f, "loads", loads, "of 16 bytes a thread: 1, 2, 4 or 8", 1, 8);
  for (const std::int64_t v : loads)
    f.check((v & (v - 1)) == 0, "loads", fmt::format("{} is not 1, 2, 4 or 8", v));
}
void GatherGrid::describe(Fields& f) {
  sizes(f, "block_bytes", block_bytes, "of one block", 16, kMostBytes, "bytes");
  multiple_of(f, "block_bytes", block_bytes, 16);
  sizes(f, "bytes", bytes, "of all blocks", 4096, kMostBytes, "bytes");
  for (const std::int64_t block : block_bytes)
    for (const std::int64_t all : bytes)
      f.check(block <= 0 || all % block == 0, "bytes",
              fmt::format("{} is not a multiple of block_bytes {}", all, block));
}

void Plan::describe(Fields& f) {
  f.field("name", name, {.doc = "of the plan", .required = true});
  f.field("warmup", warmup, {.doc = "rounds before the first measured one", .min = 0, .max = 1000});
  f.field("repeats", repeats, {.doc = "measured rounds; the median counts", .min = 1, .max = 100000});
  f.field("seed", seed, {.doc = "of the data, of page orders and of what is checked", .min = 0});
  for_each_section(*this,
                   [&](const char* key, auto& grids, const char* doc) { f.list(key, grids, {.doc = doc}); });
}

namespace {

Plan read_plan(const Yaml& document) {
  Plan plan;
  read_spec(document, plan);
  bool any = false;
  for_each_section(plan, [&](const char*, const auto& grids, const char*) { any = any || !grids.empty(); });
  if (!any) throw InputError(document.at, "the plan measures nothing, expected a section like gemm or hbm");
  return plan;
}

}  // namespace

Plan load_plan(const std::string& name_or_path) { return read_plan(load_config("measure", name_or_path)); }
Plan parse_plan(std::string_view text, const std::string& file) { return read_plan(parse_yaml(text, file)); }

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
  const double ops_a_repeat =
      work.ops_a_repeat > 0 ? work.ops_a_repeat : static_cast<double>(settings.min_ops);
  const double ops = ops_a_repeat * (settings.warmup + settings.repeats);
  const double set_up = 0.02 + 10 * work.footprint / (1e12 * speed);
  return set_up + op * ops + work.host_flops / 1e9;
}

}  // namespace tessera::measure
