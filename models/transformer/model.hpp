// A transformer (or hybrid) language model as its published config.json states it: shapes only, no weights.
//
// The layers follow a repeating `pattern` of named `kinds`; a kind says how a layer mixes tokens
// (attention, recurrent state or not at all), what it retains, and whether a feed-forward block follows.
// Layers are resolved one by one in layers.hpp; KV bytes come from kv_layout.hpp, weights from weights.hpp
// and the operators of a step from step_work.hpp. Left out: numerics, positional scaling, vision towers
// (their size goes into `other_parameters`), multi-token-prediction heads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): one latent of kv_lora_rank plus one rotary
// key of rope_dim is cached per token and layer, whatever the number of heads.
struct MlaSpec {
  std::int64_t kv_lora_rank = 512;
  std::int64_t q_lora_rank = 0;  // 0: queries are projected directly
  std::int64_t nope_dim = 128;
  std::int64_t rope_dim = 64;
  std::int64_t v_dim = 128;
  std::int64_t latent_heads = 1;  // kv_lora_rank is split over them; tensor parallelism shares them out
  void describe(Fields& f);
};

// DeepSeek sparse attention (V3.2): a small scoring head picks top_k tokens; its keys are cached too. With
// compressed entries (V4) it scores and picks those.
struct IndexerSpec {
  std::int64_t heads = 64;
  std::int64_t dim = 128;
  std::int64_t top_k = 2048;
  void describe(Fields& f);
};

struct AttentionSpec {
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 128;  // of queries and keys
  std::int64_t v_head_dim = 0;  // 0: same as head_dim
  std::string kind = "gqa";     // gqa (includes MHA and MQA) | mla
  // no | weights (V is projected by K's matrix) | cache (one tensor is stored) | half (grouped-tied: V is
  // also the unrotated half of K; one rotary half of a key is stored for all heads)
  std::string k_equals_v = "no";
  std::int64_t q_lora_rank = 0;  // 0: queries are projected directly (mla: see there)
  std::int64_t o_lora_rank = 0;  // 0: one output projection; else o_groups of them to this width, then one
  std::int64_t o_groups = 1;
  bool qk_norm = false;
  bool output_gate = false;  // a gate as wide as the queries is projected with them
  std::optional<MlaSpec> mla;
  std::optional<IndexerSpec> indexer;
  void describe(Fields& f);
};

// Recurrent state of constant size per sequence: heads x head_dim x state elements, and the last
// conv_kernel - 1 inputs of the short convolution over heads x head_dim + 2 x groups x state channels.
// gated_delta: head_dim and heads are those of the values, state is the key width, groups the key heads.
// mamba1: heads are the channels (head_dim 1), groups 0.
struct RecurrentSpec {
  std::string kind = "mamba2";  // mamba1 | mamba2 | gated_delta
  std::int64_t heads = 1;
  std::int64_t head_dim = 1;
  std::int64_t state = 128;
  std::int64_t groups = 1;
  std::int64_t conv_kernel = 4;
  std::int64_t dt_rank = 0;          // mamba1 only
  std::string state_dtype = "auto";  // of the state; the convolution keeps the model's dtype
  void describe(Fields& f);
};

// Entries that stand for several tokens each, beside those the layer's retention keeps: of every token, made
// as soon as `stride` of them are there (DeepSeek-V4), or of the tokens that left the window (Compressive
// Transformer).
struct CompressedSpec {
  std::int64_t stride = 4;
  std::string of = "all";    // all | evicted
  std::int64_t slots = 0;    // most entries kept, newest first; 0: all
  std::int64_t top_k = 0;    // most entries a token attends to; 0: all
  std::int64_t overlap = 1;  // strides of tokens one entry is made from
  bool indexed = false;      // attention.indexer scores them and picks its top_k
  void describe(Fields& f);
};

struct LayerKind {
  std::string name = "full";
  std::string mixer = "attention";  // attention | recurrent | none
  std::string retention = "full";   // full | window | chunked | cascade
  std::int64_t window = 0;          // tokens a window or chunk spans, the current token included
  std::int64_t sinks = 0;           // first tokens a window or cascade keeps for good
  std::int64_t cascades = 1;        // sub-windows of a cascade, window / cascades slots each
  std::optional<CompressedSpec> compressed;
  bool linear_memory =
      false;               // Infini-attention: a state of K x V width per head takes what leaves the chunk
  bool ffn = true;         // a feed-forward block follows the mixer
  std::int64_t heads = 0;  // 0: the model's
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t v_head_dim = 0;
  std::string k_equals_v = "model";  // model: as attention.k_equals_v
  void describe(Fields& f);
};

// Which layers reuse the keys and values another layer stored. See sharing.hpp for the maps.
struct SharingSpec {
  std::string kind = "none";  // none | adjacent | last | first | condensed | merged | map
  std::int64_t factor = 1;    // adjacent, merged: layers per stored KV
  std::int64_t layers = 0;    // last: this many final layers reuse the nearest earlier layer of their kind
  std::string of;             // first: the kind whose layers all read the KV of its first layer
  std::int64_t warmup = 0;    // condensed: layers that keep their own KV, half at each end
  std::int64_t prefill_passes = 1;  // condensed: times a prompt runs through the layers between
  std::int64_t from = 0;            // merged: first layer that is merged
  std::int64_t kept_every = 0;      // merged: one token in so many stays unmerged; 0: none
  std::vector<std::string> map;     // map: "reader=source" layer numbers
  bool skip_prefill = false;  // a prompt stops at the last layer that stores KV; only its last token goes on
  void describe(Fields& f);
};

// How the cache stores numbers: see kv_precision.hpp.
struct KvCacheSpec {
  std::string format = "auto";  // auto: the model's dtype
  std::optional<std::int64_t> group;
  std::optional<std::int64_t> residual;
  bool skip_windows = false;
  void describe(Fields& f);
};

struct FfnSpec {
  std::int64_t intermediate = 0;  // width of a dense block; 0 if every block is MoE
  bool gated = true;              // gate and up projections (SwiGLU, GeGLU)
  void describe(Fields& f);
};

// Layer i is MoE if i >= first_layer and i mod period = offset (and its kind has a feed-forward block).
struct MoeSpec {
  std::int64_t experts = 1;
  std::int64_t top_k = 1;
  std::int64_t expert_width = 1;
  std::int64_t shared_width = 0;  // all shared experts together; 0: none
  std::int64_t first_layer = 0;
  std::int64_t period = 1;
  std::int64_t offset = 0;
  bool router_bias = false;  // one number per expert steers the choice (DeepSeek-V3)
  void describe(Fields& f);
};

// How numbers are stored. "auto" follows dtype; only matrices of linear layers take `weights`, and routed
// experts `experts`. fp4 carries one scale byte per 32 weights (MXFP4); fp8 scales (< 0.1 %) are left out.
struct PrecisionSpec {
  std::string dtype = "bf16";
  std::string weights = "auto";
  std::string experts = "auto";
  void describe(Fields& f);
  [[nodiscard]] DType activations() const;
  [[nodiscard]] DType linear_weights() const;
  [[nodiscard]] DType expert_weights() const;
};

struct RopeSpec {
  std::int64_t dim = -1;    // -1: all of head_dim; 0: no rotary embedding
  std::int64_t tables = 1;  // local and global layers with different bases keep one table each
  void describe(Fields& f);
};

struct Model {
  std::string name;
  std::string title;
  std::string source;
  std::int64_t hidden = 1;
  std::int64_t vocab = 1;
  std::int64_t layers = 1;
  std::int64_t max_position = 1;
  AttentionSpec attention;
  RopeSpec rope;
  std::vector<LayerKind> kinds{LayerKind{}};
  std::vector<std::string> pattern{"full"};  // "local*5" repeats; the list repeats over the layers
  SharingSpec sharing;
  KvCacheSpec kv_cache;
  std::optional<RecurrentSpec> recurrent;
  FfnSpec ffn;
  std::optional<MoeSpec> moe;
  bool tied_embeddings = false;
  std::string biases = "none";  // none | qkv | linear | all (linear and norm biases)
  bool sandwich_norm = false;   // a second norm after each block (Gemma)
  std::int64_t learned_positions = 0;
  std::int64_t other_parameters = 0;
  PrecisionSpec precision;

  void describe(Fields& f);
};

// A name under configs/models or a path to a YAML file.
Model load_model(const std::string& name_or_path);

}  // namespace tessera
