#include "models/transformer/weights.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/transformer/kv_layout.hpp"
#include "models/transformer/step_work.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kFp4Block = 32;  // weights that share one scale byte (OCP MX formats 1.0)

void add(std::vector<WeightTensor>& tensors, const char* name, std::int64_t parameters, DType dtype,
         std::int64_t copies = 1) {
  if (parameters == 0 || copies == 0) return;
  for (WeightTensor& tensor : tensors) {
    if (tensor.name != name || tensor.parameters != parameters || tensor.dtype != dtype) continue;
    tensor.copies += copies;
    return;
  }
  tensors.push_back({name, parameters, copies, dtype});
}

// Norms and what else a layer keeps beside its matrices.
void add_vectors(std::vector<WeightTensor>& tensors, const Model& model, const Layer& layer,
                 std::int64_t tp) {
  const DType plain = model.precision.activations();
  const std::int64_t per_norm = model.hidden * (model.biases == "all" ? 2 : 1);
  const std::int64_t blocks = (layer.mixer != Mixer::none) + (layer.ffn ? 1 : 0);
  add(tensors, "norm", per_norm, plain, blocks * (model.sandwich_norm ? 2 : 1));
  if (layer.mixer == Mixer::recurrent) {
    const RecurrentSpec& r = *model.recurrent;
    const std::int64_t inner = r.heads / tp * r.head_dim;
    const std::int64_t channels = inner + (r.groups == 0 ? 0 : 2 * kv_heads_on_rank(r.groups, tp) * r.state);
    const std::int64_t heads = r.heads / tp;
    add(tensors, "state_conv", channels * (r.conv_kernel + (r.kind == "gated_delta" ? 0 : 1)), plain);
    if (r.kind == "mamba1")
      add(tensors, "state_vectors", inner * r.state + inner + r.dt_rank + 2 * r.state, plain);
    if (r.kind == "mamba2") add(tensors, "state_vectors", 3 * heads + inner, plain);
    if (r.kind == "gated_delta") add(tensors, "state_vectors", 2 * heads + r.head_dim, plain);
  }
  if (layer.moe && model.moe->router_bias) add(tensors, "router_bias", model.moe->experts, plain);
  if (layer.mixer != Mixer::attention) return;
  if (model.attention.qk_norm) add(tensors, "qk_norm", 2 * layer.head_dim, plain);
  if (model.attention.mla)
    add(tensors, "latent_norm", model.attention.mla->q_lora_rank + model.attention.mla->kv_lora_rank, plain);
  if (model.attention.indexer) add(tensors, "index_norm", 2 * model.attention.indexer->dim, plain);
}

}  // namespace

std::int64_t WeightTensor::bytes() const {
  const std::int64_t count = total_parameters();
  if (dtype == DType::fp4) return (count + 1) / 2 + ceil_div(count, kFp4Block);
  return count * static_cast<std::int64_t>(bytes_of(dtype));
}

std::vector<WeightTensor> weight_tensors(const Model& model, std::int64_t tp, std::int64_t ep) {
  const StepWork work = make_step_work(model, model.precision.activations(), tp, ep);
  const DType plain = model.precision.activations();
  std::vector<WeightTensor> tensors;
  add(tensors, "embedding", ceil_div(model.vocab, tp) * model.hidden, plain);
  add(tensors, "positions", model.learned_positions * model.hidden, plain);
  for (const GemmOp& op : work.gemms) {
    if (!op.owns_weights) continue;
    add(tensors, op.name.c_str(), op.n * op.k * op.batch, op.dtype, op.layers);
    if (op.bias) add(tensors, "bias", op.n, plain, op.layers);
  }
  for (const MoeOp& op : work.moe) {
    const std::int64_t ways = op.gated ? 2 : 1;
    const std::int64_t here = op.experts / op.ep;
    const std::int64_t width = op.expert_width / op.tp;
    add(tensors, op.name.c_str(), here * (ways + 1) * op.hidden * width, op.dtype, op.layers);
    if (op.bias) add(tensors, "expert_bias", here * (ways * width + op.hidden), plain, op.layers);
  }
  for (const Layer& layer : resolve_layers(model)) add_vectors(tensors, model, layer, tp);
  add(tensors, "norm", model.hidden * (model.biases == "all" ? 2 : 1), plain);
  add(tensors, "other", model.other_parameters, plain);
  return tensors;
}

std::int64_t parameter_count(const std::vector<WeightTensor>& tensors) {
  std::int64_t sum = 0;
  for (const WeightTensor& tensor : tensors) sum += tensor.total_parameters();
  return sum;
}

std::int64_t weight_bytes(const std::vector<WeightTensor>& tensors) {
  std::int64_t sum = 0;
  for (const WeightTensor& tensor : tensors) sum += tensor.bytes();
  return sum;
}

std::int64_t active_parameters(const Model& model) {
  std::int64_t sum = 0;
  for (const WeightTensor& tensor : weight_tensors(model)) {
    if (tensor.name == "embedding" && !model.tied_embeddings) continue;
    if (tensor.name == "experts" || tensor.name == "expert_bias")
      sum += tensor.total_parameters() / model.moe->experts * model.moe->top_k;
    else
      sum += tensor.total_parameters();
  }
  return sum;
}

}  // namespace tessera
