#include "models/transformer/kv_layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kFp8ScaleGroup = 128;  // values that share one fp32 scale in FlashMLA's record
constexpr std::int64_t kScaleBytes = 4;

std::int64_t element_bytes(DType type) { return static_cast<std::int64_t>(bytes_of(type)); }

// Blocks as an index range: pages below `kept_prefix` hold sinks, pages from `first_live` the recent tokens.
struct BlockRange {
  std::int64_t kept_prefix = 0;
  std::int64_t first_live = 0;
};

BlockRange live_blocks(const KvGroup& group, std::int64_t context, std::int64_t block_tokens) {
  switch (group.retention) {
    case Retention::full:
      return {0, 0};
    case Retention::window:
      return {ceil_div(std::min(group.sinks, context), block_tokens),
              std::max<std::int64_t>(0, context - group.window) / block_tokens};
    case Retention::chunked:
      return {0, (context - 1) / group.window * group.window / block_tokens};
    case Retention::state:
      return {0, ceil_div(context, block_tokens)};
  }
  return {};
}

std::int64_t count_blocks(const BlockRange& range, std::int64_t context, std::int64_t block_tokens) {
  return ceil_div(context, block_tokens) - std::max<std::int64_t>(0, range.first_live - range.kept_prefix);
}

struct Entry {
  std::int64_t bytes = 0;
  std::string formula;
};

Entry attention_entry(const Layer& layer, DType kv_dtype, std::int64_t tp) {
  const std::int64_t heads = kv_heads_on_rank(layer.kv_heads, tp);
  const std::int64_t b = element_bytes(kv_dtype);
  if (layer.one_tensor)
    return {heads * layer.head_dim * b,
            fmt::format("1 tensor x {} heads x {} x {} B", heads, layer.head_dim, b)};
  const std::int64_t width = layer.head_dim + layer.v_head_dim;
  if (layer.head_dim == layer.v_head_dim)
    return {heads * width * b, fmt::format("2 x {} heads x {} x {} B", heads, layer.head_dim, b)};
  return {heads * width * b,
          fmt::format("{} heads x ({} + {}) x {} B", heads, layer.head_dim, layer.v_head_dim, b)};
}

Entry latent_entry(const MlaSpec& mla, DType kv_dtype) {
  if (kv_dtype != DType::fp8) {
    const std::int64_t b = element_bytes(kv_dtype);
    return {(mla.kv_lora_rank + mla.rope_dim) * b,
            fmt::format("({} + {}) x {} B", mla.kv_lora_rank, mla.rope_dim, b)};
  }
  const std::int64_t scales = ceil_div(mla.kv_lora_rank, kFp8ScaleGroup);
  return {mla.kv_lora_rank + scales * kScaleBytes + mla.rope_dim * 2,
          fmt::format("{} x 1 B + {} scales x {} B + {} x 2 B", mla.kv_lora_rank, scales, kScaleBytes,
                      mla.rope_dim)};
}

Entry index_entry(const IndexerSpec& indexer, DType kv_dtype) {
  if (kv_dtype != DType::fp8) {
    const std::int64_t b = element_bytes(kv_dtype);
    return {indexer.dim * b, fmt::format("{} x {} B", indexer.dim, b)};
  }
  return {indexer.dim + kScaleBytes, fmt::format("{} x 1 B + 1 scale x {} B", indexer.dim, kScaleBytes)};
}

Entry state_entry(const Model& model, std::int64_t tp) {
  const RecurrentSpec& r = *model.recurrent;
  if (r.heads % tp != 0)
    throw InputError(fmt::format("{}: tp = {} does not divide the {} state heads", model.name, tp, r.heads));
  const std::int64_t heads = r.heads / tp;
  const std::int64_t groups = r.groups == 0 ? 0 : kv_heads_on_rank(r.groups, tp);
  const std::int64_t conv_bytes = element_bytes(model.precision.activations());
  const std::int64_t b = r.state_dtype == "auto" ? conv_bytes : element_bytes(parse_dtype(r.state_dtype));
  const std::int64_t channels = heads * r.head_dim + 2 * groups * r.state;
  return {heads * r.head_dim * r.state * b + (r.conv_kernel - 1) * channels * conv_bytes,
          fmt::format("{} heads x {} x {} x {} B + ({} - 1) x {} channels x {} B", heads, r.head_dim, r.state,
                      b, r.conv_kernel, channels, conv_bytes)};
}

}  // namespace

std::int64_t KvGroup::tokens_held(std::int64_t context) const {
  TESSERA_CHECK(context >= 0, "a context has a length");
  switch (retention) {
    case Retention::full:
      return context;
    case Retention::window:
      return std::min(context, sinks + window);
    case Retention::chunked:
      return context == 0 ? 0 : (context - 1) % window + 1;
    case Retention::state:
      return 0;
  }
  return 0;
}

std::int64_t KvGroup::tokens_read(std::int64_t context) const {
  const std::int64_t held = tokens_held(context);
  return read_limit > 0 ? std::min(held, read_limit) : held;
}

std::int64_t KvGroup::blocks_held(std::int64_t context, std::int64_t block_tokens) const {
  TESSERA_CHECK(context >= 0 && block_tokens > 0, "blocks hold tokens");
  if (context == 0) return 0;
  return count_blocks(live_blocks(*this, context, block_tokens), context, block_tokens);
}

std::int64_t KvLayout::bytes_per_token() const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups) sum += group.bytes_per_token();
  return sum;
}

std::int64_t KvLayout::unbounded_bytes_per_token() const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups)
    if (group.retention == Retention::full) sum += group.bytes_per_token();
  return sum;
}

std::int64_t KvLayout::bytes_held(std::int64_t context) const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups) sum += group.bytes_per_token() * group.tokens_held(context);
  return sum;
}

std::int64_t KvLayout::decode_read_bytes(std::int64_t context) const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups)
    sum += group.layers_read * group.entry_bytes * group.tokens_read(context);
  return sum;
}

std::int64_t KvLayout::state_bytes() const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups) sum += group.layers_held * group.state_bytes;
  return sum;
}

std::int64_t KvLayout::blocks_held(std::int64_t context, std::int64_t block_tokens) const {
  TESSERA_CHECK(context >= 0 && block_tokens > 0, "blocks hold tokens");
  if (context == 0) return 0;
  BlockRange all{0, ceil_div(context, block_tokens)};
  for (const KvGroup& group : groups) {
    const BlockRange range = live_blocks(group, context, block_tokens);
    all.kept_prefix = std::max(all.kept_prefix, range.kept_prefix);
    all.first_live = std::min(all.first_live, range.first_live);
  }
  return count_blocks(all, context, block_tokens);
}

std::int64_t KvLayout::bytes_in_group_blocks(std::int64_t context, std::int64_t block_tokens) const {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups)
    sum += group.blocks_held(context, block_tokens) * block_tokens * group.bytes_per_token();
  return sum;
}

std::int64_t kv_heads_on_rank(std::int64_t kv_heads, std::int64_t tp) {
  if (kv_heads % tp == 0) return kv_heads / tp;
  if (tp % kv_heads == 0) return 1;
  throw InputError(
      fmt::format("tp = {} and {} key/value heads: expected one to divide the other, so that heads are "
                  "split or replicated evenly",
                  tp, kv_heads));
}

DType resolve_kv_dtype(const Model& model, const std::string& name) {
  if (name == "auto") return model.precision.activations();
  const DType type = parse_dtype(name);
  if (bytes_of(type) < 1)
    throw InputError(fmt::format("kv_dtype '{}': expected auto, bf16, fp16, fp8, int8 or fp32", name));
  return type;
}

KvLayout make_kv_layout(const Model& model, DType kv_dtype, std::int64_t tp) {
  TESSERA_CHECK(tp >= 1 && bytes_of(kv_dtype) >= 1, "a layout has ranks and whole-byte elements");
  const std::vector<Layer> layers = resolve_layers(model);
  KvLayout layout;
  for (std::size_t kind = 0; kind < model.kinds.size(); ++kind) {
    const Layer* first = nullptr;
    KvGroup group;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].kind != static_cast<int>(kind) || layers[i].mixer == Mixer::none) continue;
      if (first == nullptr) first = &layers[i];
      ++group.layers_read;
      group.layers_held += layers[i].mixer == Mixer::recurrent || layers[i].holds_kv(static_cast<int>(i));
    }
    if (first == nullptr) continue;
    group.name = model.kinds[kind].name;
    group.retention = first->retention;
    group.window = first->window;
    group.sinks = first->sinks;
    if (first->mixer == Mixer::recurrent) {
      const Entry state = state_entry(model, tp);
      group.state_bytes = state.bytes;
      group.entry_formula = state.formula;
      layout.groups.push_back(std::move(group));
      continue;
    }
    const bool latent = model.attention.kind == "mla";
    const Entry entry =
        latent ? latent_entry(*model.attention.mla, kv_dtype) : attention_entry(*first, kv_dtype, tp);
    group.entry_bytes = entry.bytes;
    group.entry_formula = entry.formula;
    if (!model.attention.indexer) {
      layout.groups.push_back(std::move(group));
      continue;
    }
    KvGroup keys = group;
    const Entry index = index_entry(*model.attention.indexer, kv_dtype);
    keys.name += " index keys";
    keys.entry_bytes = index.bytes;
    keys.entry_formula = index.formula;
    group.read_limit = model.attention.indexer->top_k;
    layout.groups.push_back(std::move(group));
    layout.groups.push_back(std::move(keys));
  }
  return layout;
}

}  // namespace tessera
