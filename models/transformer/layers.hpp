// A model's layers, one by one: the pattern unrolled, per-kind overrides applied, sharing resolved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/model.hpp"

namespace tessera {

enum class Mixer { attention, recurrent, none };
enum class Retention { full, window, chunked, state };
const char* name_of(Retention retention);

struct Layer {
  int kind = 0;  // index into Model::kinds
  Mixer mixer = Mixer::attention;
  Retention retention = Retention::full;
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool one_projection = false;  // K's matrix projects V as well
  bool one_tensor = false;      // K and V are one cached tensor
  bool ffn = true;
  bool moe = false;
  int kv_source = 0;  // the layer whose keys and values this one reads; its own index if it stores them

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
