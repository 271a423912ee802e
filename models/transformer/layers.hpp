// A model's layers, one by one: the pattern unrolled, per-kind overrides applied, sharing resolved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/kv_retention.hpp"
#include "models/transformer/model.hpp"

namespace tessera {

enum class Mixer { attention, recurrent, none };
struct Layer {
  int kind = 0;  // index into Model::kinds
  Mixer mixer = Mixer::attention;
  RetentionRule rule;                       // of the entries it stores token by token
  std::optional<RetentionRule> compressed;  // of a second store, whose entries stand for several tokens
  std::int64_t compressed_top_k = 0;        // of which a token attends to so many; 0: all
  bool indexed = false;                     // index keys choose what is attended
  bool linear_memory = false;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool one_projection = false;  // K's matrix projects V as well
  bool one_tensor = false;      // K and V are one cached tensor
  bool half_tied = false;       // V is K's unrotated half; a rotary half is stored once for all heads
  bool ffn = true;
  bool moe = false;
  int kv_source = 0;    // the layer whose keys and values this one reads; its own index if it stores them
  bool merged = false;  // stores magnitudes and kept tokens beside the merged tensor
  bool late = false;    // a prompt runs only its last token through this layer
  int passes = 1;       // times a prompt runs through it

  [[nodiscard]] bool holds_kv(int index) const { return mixer == Mixer::attention && kv_source == index; }
};

// Problems a pattern, a kind or a sharing map can have, as one sentence naming the key; empty if none.
struct LayerProblem {
  const char* key = "";
  std::string text;
};
LayerProblem find_layer_problem(const Model& model);

std::vector<Layer> resolve_layers(const Model& model);

}  // namespace tessera
