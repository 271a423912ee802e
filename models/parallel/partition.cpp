#include "models/parallel/partition.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"

namespace tessera {
namespace {

void refuse_unmodelled(const Parallel& p) {
  const auto refuse = [](const char* key, std::int64_t value, const char* why) {
    if (value > 1)
      throw InputError(fmt::format("parallel.{}: {} is not modelled yet, expected 1: {}", key, value, why));
  };
  refuse("pp", p.pp, "pipeline stages need a microbatch schedule; use tp, or replicas for throughput");
  refuse("cp", p.cp, "context parallelism needs the exchange of keys and partial outputs; use tp");
  refuse(
      "dp", p.dp,
      "ranks of one engine that share experts need a dispatch step; use `replicas` for independent engines");
}

// The rotary table holds cosine and sine of dim / 2 angles for every position: dim numbers a row.
std::vector<Buffer> rope_buffers(const Model& model) {
  std::int64_t dim = model.rope.dim;
  if (dim < 0) dim = model.attention.kind == "mla" ? model.attention.mla->rope_dim : model.attention.head_dim;
  if (dim == 0) return {};
  const auto element = static_cast<std::int64_t>(bytes_of(model.precision.activations()));
  return {
      {"rope_table", model.rope.tables * model.max_position * dim * element,
       fmt::format("{} x {} positions x {} x {} B", model.rope.tables, model.max_position, dim, element)}};
}

// A MoE token's intermediate rows are those of its top_k experts.
std::int64_t widest_block(const Model& model, const Parallel& p) {
  std::int64_t width = model.ffn.intermediate / p.tp;
  if (model.moe)
    width = std::max(width, (model.moe->top_k * model.moe->expert_width + model.moe->shared_width) / p.tp);
  return width;
}

}  // namespace

void Parallel::describe(Fields& f) {
  f.field("tp", tp, {.doc = "tensor-parallel ranks", .min = 1, .max = 65536});
  f.field("pp", pp, {.doc = "pipeline stages", .min = 1, .max = 65536});
  f.field("cp", cp, {.doc = "context-parallel ranks", .min = 1, .max = 65536});
  f.field("ep", ep, {.doc = "expert-parallel ranks", .min = 1, .max = 65536});
  f.field("dp", dp, {.doc = "data-parallel ranks of one engine", .min = 1, .max = 65536});
}

std::int64_t RankModel::buffer_bytes() const {
  std::int64_t sum = 0;
  for (const Buffer& buffer : buffers) sum += buffer.bytes;
  return sum;
}

RankModel partition(const Model& model, const Parallel& parallel, const KvPrecision& kv_precision) {
  refuse_unmodelled(parallel);
  RankModel rank;
  rank.name = model.name;
  rank.parallel = parallel;
  rank.dtype = model.precision.activations();
  rank.kv_precision = kv_precision;
  rank.hidden = model.hidden;
  rank.vocab = model.vocab;
  rank.max_position = model.max_position;
  rank.ffn_width = widest_block(model, parallel);
  rank.step = make_step_work(model, kv_precision, parallel.tp, parallel.ep);
  rank.kv = make_kv_layout(model, kv_precision, parallel.tp);
  rank.weights = weight_tensors(model, parallel.tp, parallel.ep);
  rank.buffers = rope_buffers(model);
  return rank;
}

}  // namespace tessera
