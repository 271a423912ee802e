#include "models/transformer/step_work.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

// State updates per element: decay, outer product, read-out; the delta rule also reads before it writes.
constexpr std::int64_t kScanFlops = 5;
constexpr std::int64_t kDeltaFlops = 7;

class Builder {
 public:
  Builder(const Model& model, DType kv_dtype, std::int64_t tp, std::int64_t ep)
      : model_(model),
        layout_(make_kv_layout(model, kv_dtype, tp)),
        kv_dtype_(kv_dtype),
        tp_(tp),
        ep_(ep),
        linear_(model.precision.linear_weights()),
        plain_(model.precision.activations()),
        element_(static_cast<std::int64_t>(bytes_of(plain_))) {}

  StepWork build() {
    const std::vector<Layer> layers = resolve_layers(model_);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Layer& layer = layers[i];
      if (layer.mixer == Mixer::attention) attention(layer, layer.holds_kv(static_cast<int>(i)));
      if (layer.mixer == Mixer::recurrent) recurrent(layer);
      if (layer.ffn) feed_forward(layer);
      mixers_ += layer.mixer != Mixer::none;
      ffns_ += layer.ffn;
    }
    ends();
    return std::move(work_);
  }

 private:
  std::int64_t split(std::int64_t whole, const char* what) const { return split(whole, tp_, what); }
  std::int64_t split(std::int64_t whole, std::int64_t parts, const char* what) const {
    if (whole % parts != 0)
      throw InputError(fmt::format("{}: tensor parallelism over {} ranks does not divide the {} of {}",
                                   model_.name, parts, what, whole));
    return whole / parts;
  }

  GemmOp& gemm(const char* name, std::int64_t n, std::int64_t k, Rows rows = Rows::tokens,
               std::int64_t batch = 1) {
    for (GemmOp& op : work_.gemms) {
      if (op.name != name || op.n != n || op.k != k || op.batch != batch) continue;
      ++op.layers;
      return op;
    }
    GemmOp op;
    op.name = name, op.n = n, op.k = k, op.batch = batch, op.rows = rows, op.layers = 1, op.dtype = linear_;
    op.bias = model_.biases == "all" || model_.biases == "linear";
    return work_.gemms.emplace_back(std::move(op));
  }

  void elementwise(const char* name, std::int64_t kernels, std::int64_t bytes_per_token) {
    for (ElementwiseOp& op : work_.elementwise) {
      if (op.name != name || op.kernels != kernels || op.bytes_per_token != bytes_per_token) continue;
      ++op.layers;
      return;
    }
    work_.elementwise.push_back({name, kernels, bytes_per_token, 1});
  }

  // Residual add and norm in one kernel: reads and writes both the stream and the block's output.
  void norm() {
    elementwise("norm", model_.sandwich_norm ? 2 : 1,
                (model_.sandwich_norm ? 6 : 4) * model_.hidden * element_);
  }

  // The group of a kind in the layout; index keys follow their latent group.
  int kv_group(const Layer& layer) const {
    const std::string& name = model_.kinds[static_cast<std::size_t>(layer.kind)].name;
    const auto found = std::find_if(layout_.groups.begin(), layout_.groups.end(),
                                    [&](const KvGroup& g) { return g.name == name; });
    return static_cast<int>(found - layout_.groups.begin());
  }

  void add_attention(const Layer& layer, AttentionOp::Kind kind, Rows rows, std::int64_t q_heads,
                     std::int64_t kv_heads, std::int64_t head_dim, std::int64_t v_head_dim,
                     bool index = false) {
    const int group = kv_group(layer) + (index ? 1 : 0);
    const std::string& name = layout_.groups[static_cast<std::size_t>(group)].name;
    for (AttentionOp& op : work_.attention) {
      if (op.name != name || op.kind != kind) continue;
      ++op.layers;
      return;
    }
    AttentionOp op;
    op.name = name, op.kind = kind, op.rows = rows, op.q_heads = q_heads, op.kv_heads = kv_heads;
    op.head_dim = head_dim, op.v_head_dim = v_head_dim, op.retention = layer.retention;
    op.window = layer.window, op.sinks = layer.sinks, op.layers = 1, op.kv_dtype = kv_dtype_,
    op.kv_group = group;
    op.read_limit = layout_.groups[static_cast<std::size_t>(group)].read_limit;
    work_.attention.push_back(std::move(op));
  }

  void attention(const Layer& layer, bool stores) {
    norm();
    if (model_.attention.kind == "mla")
      latent_attention(layer);
    else
      grouped_attention(layer, stores);
  }

  void grouped_attention(const Layer& layer, bool stores) {
    const std::int64_t heads = split(layer.heads, "query heads");
    const std::int64_t kv_heads = kv_heads_on_rank(layer.kv_heads, tp_);
    const std::int64_t q_width = heads * layer.head_dim;
    const std::int64_t kv_width = kv_heads * (layer.head_dim + (layer.one_projection ? 0 : layer.v_head_dim));
    const std::int64_t out_width = heads * layer.v_head_dim;
    GemmOp& qkv = gemm("qkv", q_width * (model_.attention.output_gate ? 2 : 1) + (stores ? kv_width : 0),
                       model_.hidden);
    qkv.bias = model_.biases != "none";
    gemm("attention_out", model_.hidden, out_width);
    add_attention(layer, AttentionOp::Kind::gqa, Rows::tokens, heads, kv_heads, layer.head_dim,
                  layer.v_head_dim);
    if (model_.rope.dim != 0) elementwise("rope", 1, 2 * (q_width + kv_heads * layer.head_dim) * element_);
    if (stores) elementwise("kv_write", 1, 2 * kv_heads * (layer.head_dim + layer.v_head_dim) * element_);
  }

  void latent_attention(const Layer& layer) {
    const MlaSpec& mla = *model_.attention.mla;
    const std::int64_t heads = split(layer.heads, "query heads");
    const std::int64_t q_dim = mla.nope_dim + mla.rope_dim;
    gemm("mla_down", mla.q_lora_rank + mla.kv_lora_rank + mla.rope_dim, model_.hidden);
    gemm("mla_q", heads * q_dim, mla.q_lora_rank > 0 ? mla.q_lora_rank : model_.hidden);
    gemm("mla_kv_up", heads * (mla.nope_dim + mla.v_dim), mla.kv_lora_rank, Rows::prefill);
    gemm("mla_absorb_k", mla.kv_lora_rank, mla.nope_dim, Rows::decode, heads).owns_weights = false;
    gemm("mla_absorb_v", mla.v_dim, mla.kv_lora_rank, Rows::decode, heads).owns_weights = false;
    gemm("attention_out", model_.hidden, heads * mla.v_dim);
    add_attention(layer, AttentionOp::Kind::mla_absorbed, Rows::decode, heads, 1,
                  mla.kv_lora_rank + mla.rope_dim, mla.kv_lora_rank);
    add_attention(layer, AttentionOp::Kind::mla_expanded, Rows::prefill, heads, heads, q_dim, mla.v_dim);
    elementwise("rope", 1, 2 * (heads + 1) * mla.rope_dim * element_);
    elementwise("kv_write", 1, 2 * (mla.kv_lora_rank + mla.rope_dim) * element_);
    if (!model_.attention.indexer) return;
    const IndexerSpec& indexer = *model_.attention.indexer;
    gemm("index_q", indexer.heads * indexer.dim, mla.q_lora_rank > 0 ? mla.q_lora_rank : model_.hidden);
    gemm("index_k", indexer.dim, model_.hidden);
    gemm("index_weights", indexer.heads, model_.hidden);
    add_attention(layer, AttentionOp::Kind::index_scores, Rows::tokens, indexer.heads, 1, indexer.dim, 0,
                  true);
    elementwise("index_write", 1, 2 * indexer.dim * element_);
  }

  void recurrent(const Layer& layer) {
    norm();
    const RecurrentSpec& r = *model_.recurrent;
    const std::int64_t heads = split(r.heads, "state heads");
    const std::int64_t inner = heads * r.head_dim;
    const std::int64_t shared = r.groups == 0 ? 0 : 2 * kv_heads_on_rank(r.groups, tp_) * r.state;
    if (r.kind == "mamba1") {
      gemm("state_in", 2 * inner, model_.hidden);
      gemm("state_x", r.dt_rank + 2 * r.state, inner);
      gemm("state_dt", inner, r.dt_rank).bias = true;
    } else {
      // x, gate z, the shared B and C (or queries and keys), and per head a step (or two delta-rule gates).
      gemm("state_in", 2 * inner + shared + heads * (r.kind == "mamba2" ? 1 : 2), model_.hidden);
    }
    gemm("state_out", model_.hidden, inner);
    elementwise("state_conv", 1, 2 * (inner + shared) * element_);
    elementwise("state_gate", 1, 3 * inner * element_);
    const int group = kv_group(layer);
    const KvGroup& kv = layout_.groups[static_cast<std::size_t>(group)];
    const std::int64_t per_element = r.kind == "gated_delta" ? kDeltaFlops : kScanFlops;
    for (RecurrentOp& op : work_.recurrent) {
      if (op.kv_group != group) continue;
      ++op.layers;
      return;
    }
    work_.recurrent.push_back({kv.name, 1, kv.state_bytes, per_element * inner * r.state, group});
  }

  void feed_forward(const Layer& layer) {
    norm();
    const std::int64_t ways = model_.ffn.gated ? 2 : 1;
    if (!layer.moe) {
      dense_block("ffn_up", "ffn_down", split(model_.ffn.intermediate, "feed-forward width"));
      return;
    }
    const MoeSpec& moe = *model_.moe;
    GemmOp& router = gemm("router", moe.experts, model_.hidden);
    router.dtype = plain_;
    if (moe.shared_width > 0)
      dense_block("shared_up", "shared_down", split(moe.shared_width, "shared experts' width"));
    const std::int64_t slices = tp_ / ep_;
    const std::int64_t width = split(moe.expert_width, slices, "expert width");
    if (moe.experts % ep_ != 0)
      throw InputError(
          fmt::format("{}: ep = {} does not divide the {} experts", model_.name, ep_, moe.experts));
    elementwise("expert_activation", 1, (ways + 1) * width * moe.top_k / ep_ * element_);
    if (!work_.moe.empty()) {
      ++work_.moe.front().layers;
      return;
    }
    work_.moe.push_back({"experts", 1, model_.hidden, moe.expert_width, moe.experts, moe.top_k, slices, ep_,
                         model_.ffn.gated, model_.biases == "all" || model_.biases == "linear",
                         model_.precision.expert_weights()});
  }

  void dense_block(const char* up, const char* down, std::int64_t width) {
    const std::int64_t ways = model_.ffn.gated ? 2 : 1;
    gemm(up, ways * width, model_.hidden);
    gemm(down, model_.hidden, width);
    elementwise("activation", 1, (ways + 1) * width * element_);
  }

  void ends() {
    elementwise("embedding", 1, 2 * model_.hidden * element_);
    elementwise("final_norm", 1, 4 * model_.hidden * element_);
    GemmOp& head = gemm("lm_head", ceil_div(model_.vocab, tp_), model_.hidden, Rows::sampled);
    head.dtype = plain_;
    head.bias = false;
    head.owns_weights = !model_.tied_embeddings;
    if (tp_ == 1) return;
    const std::int64_t row = model_.hidden * element_;
    work_.collectives.push_back({"embedding", CollectiveOp::Kind::all_reduce, Rows::tokens, 1, row});
    work_.collectives.push_back({"mixer_out", CollectiveOp::Kind::all_reduce, Rows::tokens, mixers_, row});
    work_.collectives.push_back({"ffn_out", CollectiveOp::Kind::all_reduce, Rows::tokens, ffns_, row});
    work_.collectives.push_back(
        {"logits", CollectiveOp::Kind::all_gather, Rows::sampled, 1, model_.vocab * element_});
  }

  const Model& model_;
  KvLayout layout_;
  DType kv_dtype_;
  std::int64_t tp_, ep_;
  DType linear_, plain_;
  std::int64_t element_;
  std::int64_t mixers_ = 0, ffns_ = 0;
  StepWork work_;
};

}  // namespace

StepWork make_step_work(const Model& model, DType kv_dtype, std::int64_t tp, std::int64_t ep) {
  if (ep < 1 || tp < 1 || tp % ep != 0)
    throw InputError(fmt::format(
        "ep = {} and tp = {}: expert parallelism inside the tensor-parallel group needs ep to divide tp", ep,
        tp));
  if (ep > 1 && !model.moe)
    throw InputError(fmt::format("{}: ep = {}, but the model has no experts", model.name, ep));
  return Builder(model, kv_dtype, tp, ep).build();
}

}  // namespace tessera
