#include "models/transformer/step_work.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/check.hpp"
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
  Builder(const Model& model, const KvPrecision& kv, std::int64_t tp, std::int64_t ep)
      : model_(model),
        layout_(make_kv_layout(model, kv, tp)),
        kv_(kv),
        tp_(tp),
        ep_(ep),
        linear_(model.precision.linear_weights()),
        plain_(model.precision.activations()),
        element_(static_cast<std::int64_t>(bytes_of(plain_))) {}

  StepWork build() {
    const std::vector<Layer> layers = resolve_layers(model_);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Layer& layer = layers[i];
      for (int pass = 0; pass < layer.passes; ++pass) {
        rows_ = layer.late ? Rows::sampled : pass > 0 ? Rows::prefill : Rows::tokens;
        again_ = pass > 0;
        if (layer.mixer == Mixer::attention) attention(layer, layer.holds_kv(static_cast<int>(i)));
        if (layer.mixer == Mixer::recurrent) recurrent(layer);
        if (layer.ffn) feed_forward(layer);
        if (layer.mixer != Mixer::none) all_reduce("mixer_out");
        if (layer.ffn) all_reduce("ffn_out");
      }
    }
    rows_ = Rows::tokens, again_ = false;
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

  GemmOp& gemm(const char* name, std::int64_t n, std::int64_t k) { return gemm(name, n, k, rows_); }
  GemmOp& gemm(const char* name, std::int64_t n, std::int64_t k, Rows rows, std::int64_t batch = 1) {
    for (GemmOp& op : work_.gemms) {
      if (op.name != name || op.n != n || op.k != k || op.batch != batch || op.rows != rows) continue;
      if (op.owns_weights == again_) continue;
      ++op.layers;
      return op;
    }
    GemmOp op;
    op.name = name, op.n = n, op.k = k, op.batch = batch, op.rows = rows, op.layers = 1, op.dtype = linear_;
    op.bias = model_.biases == "all" || model_.biases == "linear";
    op.owns_weights = !again_;
    return work_.gemms.emplace_back(std::move(op));
  }
  // The same matrix in other products: counted with its owner.
  void borrowed_gemm(const char* name, std::int64_t n, std::int64_t k, Rows rows, std::int64_t batch) {
    const bool before = again_;
    again_ = true;
    gemm(name, n, k, rows, batch);
    again_ = before;
  }

  void elementwise(const char* name, std::int64_t kernels, std::int64_t bytes_per_token) {
    elementwise(name, kernels, bytes_per_token, rows_);
  }
  void elementwise(const char* name, std::int64_t kernels, std::int64_t bytes_per_token, Rows rows) {
    for (ElementwiseOp& op : work_.elementwise) {
      if (op.name != name || op.kernels != kernels || op.bytes_per_token != bytes_per_token ||
          op.rows != rows)
        continue;
      ++op.layers;
      return;
    }
    work_.elementwise.push_back({name, kernels, bytes_per_token, 1, rows});
  }

  // One all-reduce of the residual stream's width.
  void all_reduce(const char* name) {
    if (tp_ == 1) return;
    for (CollectiveOp& op : work_.collectives) {
      if (op.name != name || op.rows != rows_) continue;
      ++op.count;
      return;
    }
    work_.collectives.push_back({name, CollectiveOp::Kind::all_reduce, rows_, 1, model_.hidden * element_});
  }

  // Residual add and norm in one kernel: reads and writes both the stream and the block's output.
  void norm() {
    elementwise("norm", model_.sandwich_norm ? 2 : 1,
                (model_.sandwich_norm ? 6 : 4) * model_.hidden * element_, rows_);
  }

  // The group of a kind in the layout; `store` names its second and further ones.
  int kv_group(const Layer& layer, const char* store = "") const {
    const std::string name = model_.kinds[static_cast<std::size_t>(layer.kind)].name + store;
    const auto found = std::find_if(layout_.groups.begin(), layout_.groups.end(),
                                    [&](const KvGroup& g) { return g.name == name; });
    TESSERA_CHECK(found != layout_.groups.end(), "every store of a layer is a group of the layout");
    return static_cast<int>(found - layout_.groups.begin());
  }

  struct Heads {
    std::int64_t q = 0, kv = 0, dim = 0, v_dim = 0;
  };
  void add_attention(int group, AttentionOp::Kind kind, Rows rows, const Heads& heads) {
    const KvGroup& kv = layout_.groups[static_cast<std::size_t>(group)];
    for (AttentionOp& op : work_.attention) {
      if (op.name != kv.name || op.kind != kind || op.rows != rows) continue;
      ++op.layers;
      return;
    }
    AttentionOp op;
    op.name = kv.name, op.kind = kind, op.rows = rows, op.q_heads = heads.q, op.kv_heads = heads.kv;
    op.head_dim = heads.dim, op.v_head_dim = heads.v_dim, op.rule = kv.rule, op.read_limit = kv.read_limit;
    op.layers = 1, op.kv_group = group;
    const bool skipped = kv_.skip_windows && kv.rule.kind != Retention::full;
    op.kv_dtype = skipped ? plain_ : kv_.kernel;
    op.converts = !kv_.native && !skipped;
    work_.attention.push_back(std::move(op));
  }

  void attention(const Layer& layer, bool stores) {
    norm();
    if (model_.attention.kind == "mla")
      latent_attention(layer, stores);
    else
      grouped_attention(layer, stores);
  }

  void grouped_attention(const Layer& layer, bool stores) {
    const AttentionSpec& spec = model_.attention;
    const Heads heads{split(layer.heads, "query heads"), kv_heads_on_rank(layer.kv_heads, tp_),
                      layer.head_dim, layer.v_head_dim};
    const std::int64_t q_width = heads.q * layer.head_dim;
    std::int64_t kv_width = heads.kv * (layer.head_dim + (layer.one_projection ? 0 : layer.v_head_dim));
    if (layer.half_tied) kv_width = heads.kv * layer.head_dim + layer.head_dim / 2;
    if (!stores) kv_width = 0;
    std::int64_t together = q_width * (spec.output_gate ? 2 : 1);  // projected with K and V
    if (spec.q_lora_rank > 0) {
      gemm("q_down", spec.q_lora_rank, model_.hidden);
      gemm("q_up", together, spec.q_lora_rank);
      together = 0;
    }
    // A prompt that stops here still stores its keys and values.
    if (stores && rows_ == Rows::sampled) {
      gemm("kv", kv_width, model_.hidden, Rows::tokens).bias = model_.biases != "none";
      kv_width = 0;
    }
    if (together + kv_width > 0)
      gemm(together > 0 ? "qkv" : "kv", together + kv_width, model_.hidden).bias = model_.biases != "none";
    if (spec.o_lora_rank > 0) {
      const std::int64_t groups = split(spec.o_groups, "output groups");
      gemm("o_down", spec.o_lora_rank, heads.q / groups * heads.v_dim, rows_, groups);
      gemm("attention_out", model_.hidden, groups * spec.o_lora_rank);
    } else {
      gemm("attention_out", model_.hidden, heads.q * heads.v_dim);
    }
    // Many heads on one tensor run the kernels of absorbed latent attention.
    const auto kind =
        heads.kv == 1 && layer.one_tensor ? AttentionOp::Kind::mla_absorbed : AttentionOp::Kind::gqa;
    add_attention(kv_group(layer), kind, rows_, heads);
    if (layer.compressed) compressed_attention(layer, heads, kind, stores);
    if (layer.linear_memory) linear_memory(layer, heads);
    if (model_.rope.dim != 0) elementwise("rope", 1, 2 * (q_width + heads.kv * layer.head_dim) * element_);
    if (stores)
      elementwise("kv_write", 1, 2 * heads.kv * (layer.head_dim + layer.v_head_dim) * element_,
                  rows_ == Rows::sampled ? Rows::tokens : rows_);
  }

  // The weighted sums that make an entry, and the attention to those entries.
  void compressed_attention(const Layer& layer, const Heads& heads, AttentionOp::Kind kind, bool stores) {
    const CompressedSpec& spec = *model_.kinds[static_cast<std::size_t>(layer.kind)].compressed;
    add_attention(kv_group(layer, " compressed"), kind, rows_, heads);
    const std::int64_t width = heads.kv * (heads.dim + (layer.one_tensor ? 0 : heads.v_dim));
    if (stores) gemm("compress", 2 * spec.overlap * width, model_.hidden);  // values and their weights
    if (!layer.indexed) return;
    const IndexerSpec& indexer = *model_.attention.indexer;
    if (stores) gemm("index_compress", 2 * spec.overlap * indexer.dim, model_.hidden);
    index_scores(kv_group(layer, " compressed index keys"), model_.attention.q_lora_rank);
  }

  void index_scores(int group, std::int64_t q_latent) {
    const IndexerSpec& indexer = *model_.attention.indexer;
    gemm("index_q", indexer.heads * indexer.dim, q_latent > 0 ? q_latent : model_.hidden);
    gemm("index_weights", indexer.heads, model_.hidden);
    add_attention(group, AttentionOp::Kind::index_scores, rows_, {indexer.heads, 1, indexer.dim, 0});
  }

  // Every query head reads its group's K x V state; each K/V pair is added to it once.
  void linear_memory(const Layer& layer, const Heads& heads) {
    const std::int64_t flops = 2 * (heads.q + heads.kv) * layer.head_dim * (layer.v_head_dim + 1);
    add_recurrent(kv_group(layer, " memory"), flops);
  }

  void latent_attention(const Layer& layer, bool stores) {
    const MlaSpec& mla = *model_.attention.mla;
    const std::int64_t heads = split(layer.heads, "query heads");
    const std::int64_t latents = kv_heads_on_rank(mla.latent_heads, tp_);
    const std::int64_t rank = mla.kv_lora_rank / mla.latent_heads;  // of one latent head
    const std::int64_t q_dim = mla.nope_dim + mla.rope_dim;
    const std::int64_t stored = stores ? latents * rank + mla.rope_dim : 0;
    const bool late = rows_ == Rows::sampled;
    // What a late layer stores is made of every token, though it attends for sampled ones only.
    const std::int64_t late_stored = late ? stored : 0;
    if (late_stored > 0) gemm("mla_kv_down", late_stored, model_.hidden, Rows::tokens);
    if (const std::int64_t down = mla.q_lora_rank + stored - late_stored; down > 0)
      gemm("mla_down", down, model_.hidden);
    gemm("mla_q", heads * q_dim, mla.q_lora_rank > 0 ? mla.q_lora_rank : model_.hidden);
    gemm("mla_kv_up", heads * (mla.nope_dim + mla.v_dim), rank, late ? Rows::sampled : Rows::prefill);
    const Rows absorbed = late ? Rows::sampled : Rows::decode;
    if (rows_ != Rows::prefill) {
      borrowed_gemm("mla_absorb_k", rank, mla.nope_dim, absorbed, heads);
      borrowed_gemm("mla_absorb_v", mla.v_dim, rank, absorbed, heads);
    }
    gemm("attention_out", model_.hidden, heads * mla.v_dim);
    const int group = kv_group(layer);
    if (rows_ != Rows::prefill)
      add_attention(group, AttentionOp::Kind::mla_absorbed, absorbed,
                    {heads, latents, rank + mla.rope_dim, rank});
    if (!late)
      add_attention(group, AttentionOp::Kind::mla_expanded, Rows::prefill, {heads, heads, q_dim, mla.v_dim});
    elementwise("rope", 1, 2 * (heads + 1) * mla.rope_dim * element_);
    if (stores) elementwise("kv_write", 1, 2 * (latents * rank + mla.rope_dim) * element_);
    if (!layer.indexed) return;
    if (stores) gemm("index_k", model_.attention.indexer->dim, model_.hidden);
    index_scores(kv_group(layer, " index keys"), mla.q_lora_rank);
    if (stores) elementwise("index_write", 1, 2 * model_.attention.indexer->dim * element_);
  }

  void add_recurrent(int group, std::int64_t flops_per_token) {
    const KvGroup& kv = layout_.groups[static_cast<std::size_t>(group)];
    for (RecurrentOp& op : work_.recurrent) {
      if (op.kv_group != group) continue;
      ++op.layers;
      return;
    }
    work_.recurrent.push_back({kv.name, 1, kv.state_bytes, flops_per_token, group});
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
    const std::int64_t per_element = r.kind == "gated_delta" ? kDeltaFlops : kScanFlops;
    add_recurrent(kv_group(layer), per_element * inner * r.state);
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
    for (MoeOp& op : work_.moe) {
      if (op.rows != rows_) continue;
      ++op.layers;
      return;
    }
    work_.moe.push_back({"experts", 1, model_.hidden, moe.expert_width, moe.experts, moe.top_k, slices, ep_,
                         model_.ffn.gated, model_.biases == "all" || model_.biases == "linear",
                         model_.precision.expert_weights(), rows_});
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
    all_reduce("embedding");
    work_.collectives.push_back(
        {"logits", CollectiveOp::Kind::all_gather, Rows::sampled, 1, model_.vocab * element_});
  }

  const Model& model_;
  KvLayout layout_;
  KvPrecision kv_;
  std::int64_t tp_, ep_;
  DType linear_, plain_;
  std::int64_t element_;
  Rows rows_ = Rows::tokens;  // of the layer being added
  bool again_ = false;        // a further pass of a prompt: the weights are counted already
  StepWork work_;
};

}  // namespace

StepWork make_step_work(const Model& model, const KvPrecision& kv, std::int64_t tp, std::int64_t ep) {
  if (ep < 1 || tp < 1 || tp % ep != 0)
    throw InputError(fmt::format(
        "ep = {} and tp = {}: expert parallelism inside the tensor-parallel group needs ep to divide tp", ep,
        tp));
  if (ep > 1 && !model.moe)
    throw InputError(fmt::format("{}: ep = {}, but the model has no experts", model.name, ep));
  return Builder(model, kv, tp, ep).build();
}

}  // namespace tessera
