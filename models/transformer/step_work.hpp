// The operators one rank runs in one forward step, as shapes: the single list that the cost sources time and
// that weights.hpp counts parameters from.
//
// A matrix product is y[rows, n] = x[rows, k] . W[k, n]; which tokens are its rows is named by `Rows`. Tensor
// parallelism splits heads, feed-forward width and vocabulary (Megatron-LM, arXiv 1909.08053) and then needs
// one all-reduce of hidden x bytes per token after each mixer, each feed-forward block and the embedding, and
// gathers the logits. MLA decodes in absorbed form (queries meet the latent: heads x (kv_lora + rope)) and
// prefills expanded (nope + rope / v per head), as engines do. Expert parallelism inside the tensor-parallel
// group runs each rank's experts on all tokens and sums in the same all-reduce.
// Layers past the last one that stores KV may run only the tokens that are sampled (Rows::sampled), and a
// prompt may pass through condensed layers several times (the further passes: Rows::prefill).
// Left out: sampling and host work (the engine's), kernels an engine fuses beyond the counts given here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/kv_precision.hpp"
#include "models/transformer/layers.hpp"

namespace tessera {

enum class Rows {
  tokens,   // every token of the step
  prefill,  // tokens of prompts
  decode,   // one token per decoding sequence
  sampled,  // sequences that sample: one token of each
};

struct GemmOp {
  std::string name;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;  // independent products, e.g. one per head
  std::int64_t layers = 0;
  Rows rows = Rows::tokens;
  DType dtype = DType::bf16;  // of the weights
  bool owns_weights = true;   // false: another operator's matrix, counted there
  bool bias = false;

  [[nodiscard]] std::int64_t flops(std::int64_t row_count) const {
    return 2 * row_count * n * k * batch * layers;
  }
};

struct AttentionOp {
  std::string name;  // of the layer kind
  enum class Kind { gqa, mla_absorbed, mla_expanded, index_scores } kind = Kind::gqa;
  Rows rows = Rows::tokens;
  std::int64_t q_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t v_head_dim = 0;  // 0: scores only
  RetentionRule rule;           // of the entries attended to
  std::int64_t read_limit = 0;  // entries attended after selection; 0: all that are visible
  std::int64_t layers = 0;
  DType kv_dtype = DType::bf16;  // what the kernel computes on
  bool converts = false;         // entries are stored in another format and converted as they are read
  int kv_group = 0;              // index into KvLayout::groups
};

struct RecurrentOp {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t state_bytes = 0;      // per sequence and layer: read and written once a step
  std::int64_t flops_per_token = 0;  // per layer
  int kv_group = 0;
};

struct MoeOp {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t expert_width = 0;  // of a whole expert
  std::int64_t experts = 0;       // of the whole model
  std::int64_t top_k = 0;
  std::int64_t tp = 1;  // slices of each expert
  std::int64_t ep = 1;  // ranks the experts are spread over
  bool gated = true;
  bool bias = false;
  DType dtype = DType::bf16;
  Rows rows = Rows::tokens;
};

// Small kernels that move bytes and hardly compute: norms, rotary embedding, activation, KV write.
struct ElementwiseOp {
  std::string name;
  std::int64_t kernels = 0;  // per layer
  std::int64_t bytes_per_token = 0;
  std::int64_t layers = 0;
  Rows rows = Rows::tokens;
};

struct CollectiveOp {
  std::string name;
  enum class Kind { all_reduce, all_gather } kind = Kind::all_reduce;
  Rows rows = Rows::tokens;
  std::int64_t count = 0;          // per step
  std::int64_t bytes_per_row = 0;  // of the reduced or the gathered buffer
};

struct StepWork {
  std::vector<GemmOp> gemms;
  std::vector<AttentionOp> attention;
  std::vector<RecurrentOp> recurrent;
  std::vector<MoeOp> moe;
  std::vector<ElementwiseOp> elementwise;
  std::vector<CollectiveOp> collectives;  // empty on one GPU
};

// Throws InputError if tp or ep does not divide what it has to split.
StepWork make_step_work(const Model& model, const KvPrecision& kv, std::int64_t tp = 1, std::int64_t ep = 1);

}  // namespace tessera
