#include "kernels/measure/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/measure/plan_sections.hpp"
#include "models/base/text.hpp"

namespace tessera::measure {
namespace {

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

}  // namespace tessera::measure
