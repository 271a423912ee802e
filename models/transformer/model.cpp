#include "models/transformer/model.hpp"

#include <fmt/format.h>

#include "models/transformer/kv_precision.hpp"
#include "models/transformer/layers.hpp"

namespace tessera {
namespace {

const std::vector<std::string> kDTypes{"bf16", "fp16", "fp8", "int8", "fp4", "fp32"};
std::vector<std::string> with_auto() {
  std::vector<std::string> names{"auto"};
  names.insert(names.end(), kDTypes.begin(), kDTypes.end());
  return names;
}
constexpr double kMaxWidth = 1 << 24;  // far above any published width; keeps every product inside int64

}  // namespace

void MlaSpec::describe(Fields& f) {
  f.field("kv_lora_rank", kv_lora_rank, {.doc = "width of the cached latent", .min = 1, .max = kMaxWidth});
  f.field("q_lora_rank", q_lora_rank,
          {.doc = "width of the query latent; 0: none", .min = 0, .max = kMaxWidth});
  f.field("nope_dim", nope_dim,
          {.doc = "query and key width without rotation, per head", .min = 1, .max = kMaxWidth});
  f.field("rope_dim", rope_dim,
          {.doc = "rotary width; the rotary key is shared by all heads", .min = 0, .max = kMaxWidth});
  f.field("v_dim", v_dim, {.doc = "value width per head", .min = 1, .max = kMaxWidth});
  f.field("latent_heads", latent_heads,
          {.doc = "parts the latent is split into, each read by its share of the heads (grouped latent)",
           .min = 1,
           .max = kMaxWidth});
  f.check(kv_lora_rank % latent_heads == 0, "latent_heads",
          fmt::format("{} does not divide kv_lora_rank {}", latent_heads, kv_lora_rank));
}

void IndexerSpec::describe(Fields& f) {
  f.field("heads", heads, {.doc = "scoring heads", .min = 1, .max = kMaxWidth});
  f.field("dim", dim, {.doc = "width of the cached index key", .min = 1, .max = kMaxWidth});
  f.field("top_k", top_k, {.doc = "tokens attended after selection", .min = 1, .max = 1e9});
}

void AttentionSpec::describe(Fields& f) {
  f.field("heads", heads, {.doc = "query heads", .min = 1, .max = kMaxWidth, .required = true});
  f.field("kv_heads", kv_heads, {.doc = "key/value heads", .min = 1, .max = kMaxWidth, .required = true});
  f.field("head_dim", head_dim,
          {.doc = "width of a query or key head", .min = 1, .max = kMaxWidth, .required = true});
  f.field("v_head_dim", v_head_dim,
          {.doc = "width of a value head; 0: head_dim", .min = 0, .max = kMaxWidth});
  f.choice("kind", kind, {"gqa", "mla"}, {.doc = "gqa covers MHA (kv_heads = heads) and MQA (kv_heads = 1)"});
  f.choice("k_equals_v", k_equals_v, {"no", "weights", "cache", "half"},
           {.doc = "weights: one matrix projects K and V, both are cached; cache: one tensor serves as both; "
                   "half: V is the unrotated half of K too, one rotary half is shared by all heads"});
  f.field("q_lora_rank", q_lora_rank,
          {.doc = "width of a query latent outside mla; 0: none", .min = 0, .max = kMaxWidth});
  f.field("o_lora_rank", o_lora_rank,
          {.doc = "width each output group is projected to first; 0: one projection",
           .min = 0,
           .max = kMaxWidth});
  f.field("o_groups", o_groups, {.doc = "groups of heads of that projection", .min = 1, .max = kMaxWidth});
  f.field("qk_norm", qk_norm, {.doc = "per-head norms on queries and keys"});
  f.field("output_gate", output_gate, {.doc = "a gate as wide as the queries multiplies the output"});
  f.optional_group("mla", mla, {.doc = "latent attention (kind: mla)"});
  f.optional_group("indexer", indexer, {.doc = "sparse-attention indexer (DSA)"});
  f.check(heads % kv_heads == 0, "kv_heads",
          fmt::format("{} does not divide the {} query heads", kv_heads, heads));
  f.check(
      (kind == "mla") == mla.has_value(), "kind",
      kind == "mla" ? "mla needs the group attention.mla" : "gqa takes no attention.mla, expected kind: mla");
  f.check(kind != "mla" || (q_lora_rank == 0 && o_lora_rank == 0), "q_lora_rank",
          "mla has its own query latent, expected attention.mla.q_lora_rank");
  f.check(heads % o_groups == 0, "o_groups", fmt::format("{} does not divide {} heads", o_groups, heads));
  f.check(!mla || heads % mla->latent_heads == 0, "mla",
          fmt::format("latent_heads do not divide the {} heads", heads));
  f.check(kind != "mla" || k_equals_v == "no", "k_equals_v", "an mla latent has no separate K and V to tie");
  f.check(k_equals_v == "no" || v_head_dim == 0 || v_head_dim == head_dim, "k_equals_v",
          "tied K and V need v_head_dim = head_dim");
}

void RecurrentSpec::describe(Fields& f) {
  f.choice("kind", kind, {"mamba1", "mamba2", "gated_delta"}, {.doc = "recurrence"});
  f.field("heads", heads,
          {.doc = "state heads (mamba1: channels)", .min = 1, .max = kMaxWidth, .required = true});
  f.field("head_dim", head_dim, {.doc = "rows of one head's state", .min = 1, .max = kMaxWidth});
  f.field("state", state,
          {.doc = "columns of one head's state", .min = 1, .max = kMaxWidth, .required = true});
  f.field("groups", groups,
          {.doc = "groups sharing B and C (gated_delta: key heads)", .min = 0, .max = kMaxWidth});
  f.field("conv_kernel", conv_kernel,
          {.doc = "taps of the short convolution", .unit = "tokens", .min = 1, .max = 1024});
  f.field("dt_rank", dt_rank,
          {.doc = "rank of the time-step projection (mamba1)", .min = 0, .max = kMaxWidth});
  f.choice("state_dtype", state_dtype, with_auto(),
           {.doc = "precision of the state; auto: the model's dtype"});
  f.check(kind != "mamba1" || (groups == 0 && head_dim == 1 && dt_rank > 0), "kind",
          "mamba1 needs groups: 0, head_dim: 1 and a dt_rank");
  f.check(kind == "mamba1" || (groups > 0 && heads % groups == 0), "groups",
          fmt::format("{} groups do not divide {} heads", groups, heads));
}

void CompressedSpec::describe(Fields& f) {
  f.field("stride", stride, {.doc = "tokens one entry stands for", .unit = "tokens", .min = 2, .max = 1e6});
  f.choice("of", of, {"all", "evicted"}, {.doc = "every token, or those that left the window"});
  f.field("slots", slots, {.doc = "most entries kept; 0: all", .min = 0, .max = 1e9});
  f.field("top_k", top_k, {.doc = "most entries a token attends to; 0: all", .min = 0, .max = 1e9});
  f.field("overlap", overlap, {.doc = "strides of tokens one entry is made from", .min = 1, .max = 64});
  f.field("indexed", indexed, {.doc = "attention.indexer picks its top_k of them"});
  f.check(!indexed || top_k == 0, "top_k", "an indexed store takes top_k from attention.indexer");
}

void LayerKind::describe(Fields& f) {
  f.field("name", name, {.doc = "name used in the pattern", .required = true});
  f.choice("mixer", mixer, {"attention", "recurrent", "none"}, {.doc = "how the layer mixes tokens"});
  f.choice("retention", retention, {"full", "window", "chunked", "cascade"},
           {.doc = "which cached tokens stay"});
  f.field("window", window,
          {.doc = "span of the window or chunk; slots of a cascade", .unit = "tokens", .min = 0, .max = 1e9});
  f.field("sinks", sinks,
          {.doc = "first tokens a window or cascade keeps", .unit = "tokens", .min = 0, .max = 1e9});
  f.field("cascades", cascades, {.doc = "sub-windows of a cascade", .min = 1, .max = 32});
  f.optional_group("compressed", compressed, {.doc = "entries that stand for several tokens, kept as well"});
  f.field("linear_memory", linear_memory,
          {.doc = "a constant state takes what leaves the chunk (Infini-attention)"});
  f.field("ffn", ffn, {.doc = "a feed-forward block follows"});
  f.field("heads", heads, {.doc = "query heads; 0: the model's", .min = 0, .max = kMaxWidth});
  f.field("kv_heads", kv_heads, {.doc = "key/value heads; 0: the model's", .min = 0, .max = kMaxWidth});
  f.field("head_dim", head_dim,
          {.doc = "query and key head width; 0: the model's", .min = 0, .max = kMaxWidth});
  f.field("v_head_dim", v_head_dim,
          {.doc = "value head width; 0: head_dim if that is given here, else the model's",
           .min = 0,
           .max = kMaxWidth});
  f.choice("k_equals_v", k_equals_v, {"model", "no", "weights", "cache", "half"},
           {.doc = "as attention.k_equals_v, for this kind"});
  f.check((retention == "full") == (window == 0), "retention",
          retention == "full" ? "a window needs retention: window or chunked"
                              : retention + " needs a window of at least 1 token");
  f.check(sinks == 0 || retention == "window" || retention == "cascade", "sinks",
          "sinks belong to retention: window or cascade");
  f.check(mixer == "attention" || retention == "full", "retention", "only attention layers retain a window");
  f.check(retention == "cascade" ? window % cascades == 0 : cascades == 1, "cascades",
          retention == "cascade" ? fmt::format("{} does not divide the window of {}", cascades, window)
                                 : "sub-windows belong to retention: cascade");
  f.check(!compressed || mixer == "attention", "compressed", "only attention layers compress entries");
  f.check(!compressed || compressed->of == "all" || (retention == "window" && sinks == 0), "compressed",
          "of: evicted needs retention: window without sinks, whose tokens leave one by one");
  f.check(!linear_memory || (mixer == "attention" && retention == "chunked"), "linear_memory",
          "a linear memory needs retention: chunked, whose chunk it takes in when the next begins");
  f.check(mixer != "none" || ffn, "ffn", "a layer with mixer: none needs its feed-forward block");
}

void SharingSpec::describe(Fields& f) {
  f.choice(
      "kind", kind, {"none", "adjacent", "last", "first", "condensed", "merged", "map"},
      {.doc = "adjacent: every `factor` layers share one KV (CLA); last: the final `layers` reuse earlier "
              "KV (Gemma-3n); first: all layers of kind `of` read its first (YOCO); condensed: all but "
              "`warmup` layers read the topmost of them (LCKV); merged: from layer `from` on, `factor` "
              "layers are one (MiniCache); map: reader=source (KVSharer)"});
  f.field("factor", factor, {.doc = "layers per stored KV (adjacent, merged)", .min = 1, .max = 4096});
  f.field("layers", layers, {.doc = "final layers that store nothing (last)", .min = 0, .max = 4096});
  f.field("of", of, {.doc = "kind whose layers share (first)"});
  f.field("warmup", warmup, {.doc = "layers with KV of their own (condensed)", .min = 0, .max = 4096});
  f.field("prefill_passes", prefill_passes,
          {.doc = "times a prompt runs through the sharing layers (condensed)", .min = 1, .max = 64});
  f.field("from", from, {.doc = "first merged layer (merged)", .min = 0, .max = 4096});
  f.field("kept_every", kept_every,
          {.doc = "one token in so many stays unmerged; 0: none (merged)",
           .unit = "tokens",
           .min = 0,
           .max = 1e6});
  f.list("map", map, {.doc = "reader=source layer numbers (map)"});
  f.field("skip_prefill", skip_prefill,
          {.doc = "past the last layer that stores KV, a prompt runs its last token alone"});
  const auto only = [&](bool set, const char* key, const char* kinds) {
    f.check(!set, key, fmt::format("belongs to sharing.kind: {}, but the kind is {}", kinds, kind));
  };
  only(factor != 1 && kind != "adjacent" && kind != "merged", "factor", "adjacent or merged");
  only(layers != 0 && kind != "last", "layers", "last");
  only(!of.empty() && kind != "first", "of", "first");
  only(warmup != 0 && kind != "condensed", "warmup", "condensed");
  only(prefill_passes != 1 && kind != "condensed", "prefill_passes", "condensed");
  only(from != 0 && kind != "merged", "from", "merged");
  only(kept_every != 0 && kind != "merged", "kept_every", "merged");
  only(!map.empty() && kind != "map", "map", "map");
  only(skip_prefill && kind != "last" && kind != "first", "skip_prefill", "last or first");
}

void KvCacheSpec::describe(Fields& f) {
  f.choice("format", format, kv_format_names(),
           {.doc = "number format of the KV cache; auto: the model's dtype"});
  f.field("group", group, {.doc = "numbers under one scale; null: the format's", .min = 1, .max = 65536});
  f.field("residual", residual,
          {.doc = "newest tokens at full precision; null: the format's",
           .unit = "tokens",
           .min = 0,
           .max = 65536});
  f.field("skip_windows", skip_windows, {.doc = "window and chunk layers keep the model's dtype"});
}

void FfnSpec::describe(Fields& f) {
  f.field("intermediate", intermediate,
          {.doc = "width of a dense feed-forward block", .min = 0, .max = kMaxWidth});
  f.field("gated", gated, {.doc = "gate and up projections; false: one up projection"});
}

void MoeSpec::describe(Fields& f) {
  f.field("experts", experts, {.doc = "routed experts", .min = 1, .max = 1e6, .required = true});
  f.field("top_k", top_k, {.doc = "experts a token visits", .min = 1, .max = 1e6, .required = true});
  f.field("expert_width", expert_width,
          {.doc = "width of one routed expert", .min = 1, .max = kMaxWidth, .required = true});
  f.field("shared_width", shared_width,
          {.doc = "width of all shared experts together", .min = 0, .max = kMaxWidth});
  f.field("first_layer", first_layer, {.doc = "layers before this one are dense", .min = 0, .max = 4096});
  f.field("period", period, {.doc = "every period-th layer is MoE", .min = 1, .max = 4096});
  f.field("offset", offset, {.doc = "layer mod period that is MoE", .min = 0, .max = 4096});
  f.field("router_bias", router_bias, {.doc = "one number per expert steers the choice"});
  f.check(top_k <= experts, "top_k", fmt::format("{} is above the {} experts", top_k, experts));
  f.check(offset < period, "offset", fmt::format("{} is not below the period {}", offset, period));
}

void PrecisionSpec::describe(Fields& f) {
  f.choice("dtype", dtype, {"bf16", "fp16", "fp32"}, {.doc = "activations, norms and embeddings"});
  f.choice("weights", weights, with_auto(), {.doc = "matrices of the linear layers; auto: dtype"});
  f.choice("experts", experts, with_auto(), {.doc = "routed experts; auto: as weights"});
}
DType PrecisionSpec::activations() const { return parse_dtype(dtype); }
DType PrecisionSpec::linear_weights() const {
  return weights == "auto" ? activations() : parse_dtype(weights);
}
DType PrecisionSpec::expert_weights() const {
  return experts == "auto" ? linear_weights() : parse_dtype(experts);
}

void RopeSpec::describe(Fields& f) {
  f.field("dim", dim, {.doc = "rotary width per head; -1: head_dim, 0: none", .min = -1, .max = kMaxWidth});
  f.field("tables", tables, {.doc = "different rotary tables kept in memory", .min = 1, .max = 64});
}

void Model::describe(Fields& f) {
  f.field("name", name, {.doc = "public name in lower case"});
  f.field("title", title, {.doc = "name as its makers write it"});
  f.field("source", source, {.doc = "where the shapes come from"});
  f.field("hidden", hidden,
          {.doc = "width of the residual stream", .min = 1, .max = kMaxWidth, .required = true});
  f.field("vocab", vocab, {.doc = "rows of the embedding", .min = 1, .max = kMaxWidth, .required = true});
  f.field("layers", layers, {.doc = "layers", .min = 1, .max = 4096, .required = true});
  f.field("max_position", max_position,
          {.doc = "longest context", .unit = "tokens", .min = 1, .max = 1e9, .required = true});
  f.group("attention", attention, {.doc = "attention shapes", .required = true});
  f.group("rope", rope, {.doc = "rotary embedding"});
  f.list("kinds", kinds, {.doc = "kinds of layers"});
  f.list("pattern", pattern,
         {.doc = "kinds in layer order, repeated to the last layer; `name*n` stands for n of them"});
  f.group("sharing", sharing, {.doc = "cross-layer KV sharing"});
  f.group("kv_cache", kv_cache, {.doc = "number format of the KV cache"});
  f.optional_group("recurrent", recurrent, {.doc = "recurrent state of `mixer: recurrent` layers"});
  f.group("ffn", ffn, {.doc = "dense feed-forward blocks"});
  f.optional_group("moe", moe, {.doc = "mixture of experts"});
  f.field("tied_embeddings", tied_embeddings, {.doc = "the LM head is the embedding"});
  f.choice("biases", biases, {"none", "qkv", "linear", "all"},
           {.doc = "qkv: of those projections; linear: of every linear layer; all: of norms too"});
  f.field("sandwich_norm", sandwich_norm, {.doc = "a second norm after each block"});
  f.field("learned_positions", learned_positions,
          {.doc = "rows of a learned position table", .min = 0, .max = 1e9});
  f.field("other_parameters", other_parameters,
          {.doc = "parameters on every rank that no field above describes", .min = 0, .max = 1e15});
  f.group("precision", precision, {.doc = "storage precision"});
  const LayerProblem problem = find_layer_problem(*this);
  f.check(problem.text.empty(), problem.key, problem.text);
}

Model load_model(const std::string& name_or_path) {
  Model model = read_config<Model>("models", name_or_path);
  if (model.name.empty()) model.name = name_or_path;
  return model;
}

}  // namespace tessera
