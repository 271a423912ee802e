// KvLayout against a slow oracle that walks every token of every layer of a random model.
//
// The oracle knows nothing of groups or closed forms: it asks for each layer and each token position whether
// the layer stores it, and whether a decode step reads it.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "models/base/units.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return *rc::gen::inRange<std::int64_t>(low, high + 1);
}

// Up to three kinds in a random pattern; heads are powers of two so that tp always divides.
Model random_model() {
  Model model;
  model.name = "random";
  model.layers = pick(1, 12);
  model.attention.heads = 16;
  model.attention.kv_heads = 1LL << pick(0, 4);
  model.attention.head_dim = pick(1, 40);
  model.attention.v_head_dim = pick(0, 1) * pick(1, 40);
  model.ffn.intermediate = 8;
  model.kinds.clear();
  const std::int64_t kinds = pick(1, 3);
  for (std::int64_t i = 0; i < kinds; ++i) {
    LayerKind kind;
    kind.name = "kind" + std::to_string(i);
    kind.retention = *rc::gen::element<std::string>("full", "window", "chunked");
    if (kind.retention != "full") kind.window = pick(1, 50);
    if (kind.retention == "window") kind.sinks = pick(0, 1) * pick(1, 20);
    kind.kv_heads = pick(0, 1) * (1LL << pick(0, 4));
    kind.head_dim = pick(0, 1) * pick(1, 40);
    model.kinds.push_back(kind);
  }
  model.pattern.clear();
  const std::int64_t period = pick(1, 4);
  for (std::int64_t i = 0; i < period; ++i)
    model.pattern.push_back("kind" + std::to_string(pick(0, kinds - 1)) + (pick(0, 1) == 1 ? "*2" : ""));
  if (pick(0, 1) == 1) {
    model.sharing.kind = *rc::gen::element<std::string>("adjacent", "last");
    model.sharing.factor = pick(1, 4);
    if (model.sharing.kind == "last") model.sharing.layers = pick(0, model.layers - 1);
  }
  RC_PRE(find_layer_problem(model).text.empty());
  return model;
}

bool retains(const Layer& layer, std::int64_t position, std::int64_t context) {
  if (layer.rule.kind == Retention::full) return true;
  if (layer.rule.kind == Retention::window)
    return position < layer.rule.sinks || position >= context - layer.rule.window;
  return position / layer.rule.window ==
         (context - 1) / layer.rule.window;  // the same chunk as the newest token
}

std::int64_t oracle_entry(const Layer& layer, std::int64_t tp) {
  std::set<std::int64_t>
      heads_of_rank;  // query heads 0 .. 16/tp - 1 live on rank 0; which kv heads do they use?
  for (std::int64_t q = 0; q < 16 / tp; ++q) heads_of_rank.insert(q * layer.kv_heads / 16);
  std::int64_t bytes = 0;
  for ([[maybe_unused]] const std::int64_t head : heads_of_rank)
    bytes += 2 * layer.head_dim + 2 * layer.v_head_dim;
  return bytes;
}

RC_GTEST_PROP(KvLayoutOracle, BytesHeldAndReadMatchAWalkOverLayersAndTokens, ()) {
  const Model model = random_model();
  const std::int64_t tp = 1LL << pick(0, 4);
  const std::int64_t context = pick(0, 160);
  const KvLayout layout = make_kv_layout(model, DType::bf16, tp);
  const std::vector<Layer> layers = resolve_layers(model);
  std::int64_t held = 0;
  std::int64_t read = 0;
  std::int64_t written = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& source = layers[static_cast<std::size_t>(layers[i].kv_source)];
    const bool stores = layers[i].kv_source == static_cast<int>(i);
    if (stores) written += oracle_entry(layers[i], tp);
    for (std::int64_t position = 0; position < context; ++position) {
      if (stores && retains(layers[i], position, context)) held += oracle_entry(layers[i], tp);
      if (retains(source, position, context)) read += oracle_entry(source, tp);
    }
  }
  RC_ASSERT(layout.bytes_held(context) == held);
  RC_ASSERT(layout.decode_read_bytes(context) == read);
  RC_ASSERT(layout.bytes_per_token() == written);
}

RC_GTEST_PROP(KvLayoutOracle, BlocksAreThePagesSomeRetainedTokenLiesIn, ()) {
  const Model model = random_model();
  const std::int64_t context = pick(0, 160);
  const std::int64_t block = pick(1, 40);
  const KvLayout layout = make_kv_layout(model, DType::bf16);
  std::set<std::int64_t> any;
  std::int64_t group_bytes = 0;
  const std::vector<Layer> layers = resolve_layers(model);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    std::set<std::int64_t> own;
    for (std::int64_t position = 0; position < context; ++position)
      if (retains(layers[i], position, context)) own.insert(position / block);
    any.insert(own.begin(), own.end());
    if (layers[i].kv_source == static_cast<int>(i))
      group_bytes += static_cast<std::int64_t>(own.size()) * block * oracle_entry(layers[i], 1);
  }
  RC_ASSERT(layout.blocks_held(context, block) == static_cast<std::int64_t>(any.size()));
  RC_ASSERT(layout.bytes_in_group_blocks(context, block) == group_bytes);
}

RC_GTEST_PROP(KvLayoutOracle, WindowsAndSharingNeverAddBytes, ()) {
  Model model = random_model();
  const std::int64_t context = pick(0, 2000);
  const std::int64_t bytes = make_kv_layout(model, DType::bf16).bytes_held(context);
  Model plain = model;
  plain.sharing = {};
  const std::int64_t unshared = make_kv_layout(plain, DType::bf16).bytes_held(context);
  for (LayerKind& kind : plain.kinds) kind.retention = "full", kind.window = 0, kind.sinks = 0;
  const std::int64_t full = make_kv_layout(plain, DType::bf16).bytes_held(context);
  RC_ASSERT(bytes <= unshared);
  RC_ASSERT(unshared <= full);
}

// All ranks together hold every head at least once, and exactly once while tp divides the heads.
RC_GTEST_PROP(KvLayoutOracle, RanksTogetherHoldTheWholeCacheAtLeastOnce, ()) {
  const Model model = random_model();
  const std::int64_t tp = 1LL << pick(0, 4);
  const std::int64_t context = pick(1, 500);
  const std::int64_t whole = make_kv_layout(model, DType::bf16).bytes_held(context);
  const std::int64_t ranks = tp * make_kv_layout(model, DType::bf16, tp).bytes_held(context);
  RC_ASSERT(ranks >= whole);
  bool divides = true;
  for (const Layer& layer : resolve_layers(model)) divides = divides && layer.kv_heads % tp == 0;
  if (divides) RC_ASSERT(ranks == whole);
}

}  // namespace
}  // namespace tessera
