#include "models/transformer/layers.hpp"

#include <fmt/format.h>

#include <charconv>

#include "models/base/check.hpp"
#include "models/base/text.hpp"
#include "models/transformer/sharing.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMaxRepeat = 4096;

struct PatternItem {
  std::string kind;
  std::int64_t count = 1;
};

// "local*5" -> {local, 5}; count 0 marks a count that is not a whole number from 1 to 4096.
PatternItem parse_item(const std::string& text) {
  const std::size_t star = text.find('*');
  if (star == std::string::npos) return {text, 1};
  PatternItem item{text.substr(0, star), 0};
  std::int64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + star + 1, end, count);
  if (error == std::errc{} && stop == end && count >= 1 && count <= kMaxRepeat) item.count = count;
  return item;
}

int find_kind(const Model& model, const std::string& name) {
  for (std::size_t i = 0; i < model.kinds.size(); ++i)
    if (model.kinds[i].name == name) return static_cast<int>(i);
  return -1;
}

// The kind of every layer. The pattern is known to be sound.
std::vector<int> unroll(const Model& model) {
  const auto layers = static_cast<std::size_t>(model.layers);
  std::vector<int> kinds;
  for (const std::string& text : model.pattern) {
    const PatternItem item = parse_item(text);
    kinds.insert(kinds.end(), static_cast<std::size_t>(item.count), find_kind(model, item.kind));
    if (kinds.size() >= layers) break;  // a long pattern on a shallow model
  }
  const std::size_t period = kinds.size();
  kinds.resize(layers);
  for (std::size_t i = period; i < layers; ++i) kinds[i] = kinds[i - period];
  return kinds;
}

Retention parse_retention(const std::string& name) {
  if (name == "window") return Retention::window;
  if (name == "chunked") return Retention::chunked;
  if (name == "cascade") return Retention::cascade;
  return Retention::full;
}

bool is_moe(const Model& model, std::int64_t layer) {
  if (!model.moe || layer < model.moe->first_layer) return false;
  return layer % model.moe->period == model.moe->offset;
}

Layer resolve(const Model& model, int kind_index, int index) {
  const LayerKind& kind = model.kinds[static_cast<std::size_t>(kind_index)];
  const AttentionSpec& attention = model.attention;
  Layer layer;
  layer.kind = kind_index;
  layer.kv_source = index;
  layer.ffn = kind.ffn;
  layer.moe = kind.ffn && is_moe(model, index);
  if (kind.mixer != "attention") {
    layer.mixer = kind.mixer == "recurrent" ? Mixer::recurrent : Mixer::none;
    layer.rule.kind = layer.mixer == Mixer::recurrent ? Retention::state : Retention::full;
    return layer;
  }
  layer.rule.kind = parse_retention(kind.retention);
  layer.rule.window = kind.window;
  layer.rule.sinks = kind.sinks;
  layer.rule.cascades = kind.cascades;
  layer.linear_memory = kind.linear_memory;
  layer.indexed = attention.kind == "mla" && attention.indexer.has_value();
  if (kind.compressed) {
    RetentionRule rule;
    rule.kind = Retention::strided;
    rule.stride = kind.compressed->stride;
    rule.lag = kind.compressed->of == "evicted" ? kind.window : 0;
    rule.slots = kind.compressed->slots;
    layer.compressed = rule;
    layer.compressed_top_k = kind.compressed->indexed ? attention.indexer->top_k : kind.compressed->top_k;
    layer.indexed = kind.compressed->indexed;
  }
  layer.heads = kind.heads > 0 ? kind.heads : attention.heads;
  layer.kv_heads = kind.kv_heads > 0 ? kind.kv_heads : attention.kv_heads;
  layer.head_dim = kind.head_dim > 0 ? kind.head_dim : attention.head_dim;
  if (kind.v_head_dim > 0)
    layer.v_head_dim = kind.v_head_dim;
  else if (kind.head_dim == 0 && attention.v_head_dim > 0)
    layer.v_head_dim = attention.v_head_dim;
  else
    layer.v_head_dim = layer.head_dim;
  const std::string& tie = kind.k_equals_v == "model" ? attention.k_equals_v : kind.k_equals_v;
  layer.one_projection = tie == "weights" || tie == "cache";
  layer.one_tensor = tie == "cache";
  layer.half_tied = tie == "half";
  return layer;
}

// Bounds that keep every later product inside int64: a context has at most 1e9 tokens.
constexpr double kMaxKvBytesPerToken = 1e9;
constexpr double kMaxParameters = 1e15;

// Upper estimates in floating point, which cannot overflow.
LayerProblem find_size_problem(const Model& model, const std::vector<Layer>& layers) {
  const auto d = [](std::int64_t n) { return static_cast<double>(n); };
  double kv = 0;
  double parameters =
      d(model.hidden) * (2 * d(model.vocab) + d(model.learned_positions)) + d(model.other_parameters);
  double state = 0;
  for (const Layer& layer : layers) {
    const double width = d(layer.heads) * (2 * d(layer.head_dim) + d(layer.v_head_dim));
    const double kv_width = d(layer.kv_heads) * (d(layer.head_dim) + d(layer.v_head_dim));
    kv += 8 * kv_width;
    if (layer.linear_memory) state += 4 * d(layer.kv_heads) * d(layer.head_dim) * (d(layer.v_head_dim) + 1);
    parameters += d(model.hidden) * (width + kv_width + 3 * d(model.ffn.intermediate));
    if (layer.moe)
      parameters += d(model.hidden) *
                    (3 * (d(model.moe->experts) * d(model.moe->expert_width) + d(model.moe->shared_width)));
    if (layer.mixer == Mixer::recurrent) {
      const RecurrentSpec& r = *model.recurrent;
      const double inner = d(r.heads) * d(r.head_dim);
      const double channels = inner + 2 * d(r.groups) * d(r.state);
      state += 4 * (inner * d(r.state) + d(r.conv_kernel) * channels);
      parameters += d(model.hidden) * (4 * inner + channels) + inner * (d(r.dt_rank) + d(r.state)) * 2;
    }
    if (model.attention.mla) {
      const MlaSpec& mla = *model.attention.mla;
      const double rank = d(mla.q_lora_rank) + d(mla.kv_lora_rank) + d(mla.rope_dim) + d(model.hidden);
      kv += 4 * (d(mla.kv_lora_rank) + d(mla.rope_dim));
      parameters +=
          rank * (d(model.hidden) + 2 * d(layer.heads) * (d(mla.nope_dim) + d(mla.rope_dim) + d(mla.v_dim)));
    }
    if (model.attention.indexer) {
      kv += 4 * d(model.attention.indexer->dim);
      parameters +=
          d(model.attention.indexer->dim) * (d(model.attention.indexer->heads) + 1) * 2 * d(model.hidden);
    }
  }
  if (kv > kMaxKvBytesPerToken)
    return {"attention",
            fmt::format("about {:.3g} B of KV per token, expected at most {:.0g}", kv, kMaxKvBytesPerToken)};
  if (state > kMaxParameters)
    return {"recurrent", fmt::format("about {:.3g} B of state per sequence, expected at most {:.0g}", state,
                                     kMaxParameters)};
  if (parameters > kMaxParameters)
    return {"", fmt::format("the model has about {:.3g} parameters, expected at most {:.0g}", parameters,
                            kMaxParameters)};
  return {};
}

}  // namespace

LayerProblem find_layer_problem(const Model& model) {
  std::vector<std::string> names;
  for (const LayerKind& kind : model.kinds) names.push_back(kind.name);
  if (model.kinds.empty()) return {"kinds", "is empty, expected at least one kind of layer"};
  if (model.pattern.empty()) return {"pattern", "is empty, expected names of kinds"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (find_kind(model, names[i]) != static_cast<int>(i))
      return {"kinds", fmt::format("two kinds are named '{}'", names[i])};
  for (const std::string& text : model.pattern) {
    const PatternItem item = parse_item(text);
    if (item.count == 0)
      return {"pattern",
              fmt::format("'{}': expected name*count with a count from 1 to {}", text, kMaxRepeat)};
    if (find_kind(model, item.kind) < 0)
      return {"pattern", fmt::format("'{}' is not a kind, expected one of {}{}", item.kind, join(names, ", "),
                                     did_you_mean(item.kind, names))};
  }
  if (model.sharing.layers >= model.layers)
    return {"sharing", fmt::format("{} of {} layers share, but some layer has to store the KV",
                                   model.sharing.layers, model.layers)};
  bool indexes = model.attention.kind == "mla";
  for (const LayerKind& kind : model.kinds) {
    indexes = indexes || (kind.compressed && kind.compressed->indexed);
    if (kind.compressed && kind.compressed->indexed && !model.attention.indexer)
      return {"kinds", fmt::format("kind '{}' is indexed, but attention.indexer is missing", kind.name)};
  }
  if (model.attention.indexer && !indexes)
    return {"attention", "index keys are modelled for mla and for compressed entries (indexed: true) only"};
  std::vector<Layer> layers;
  for (const int kind : unroll(model))
    layers.push_back(resolve(model, kind, static_cast<int>(layers.size())));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    const std::string& name = names[static_cast<std::size_t>(layer.kind)];
    if (layer.mixer == Mixer::recurrent && !model.recurrent)
      return {"kinds", fmt::format("kind '{}' is recurrent, but the model has no `recurrent` group", name)};
    if (layer.mixer == Mixer::attention && layer.heads % layer.kv_heads != 0)
      return {"kinds", fmt::format("kind '{}': {} kv_heads do not divide {} heads", name, layer.kv_heads,
                                   layer.heads)};
    if ((layer.one_projection || layer.half_tied) && layer.v_head_dim != layer.head_dim)
      return {"kinds", fmt::format("kind '{}': tied K and V need v_head_dim = head_dim", name)};
    if (layer.half_tied && layer.head_dim % 2 != 0)
      return {"kinds", fmt::format("kind '{}': half-tied K needs an even head_dim", name)};
    if (model.attention.mla && (layer.compressed || layer.linear_memory))
      return {"kinds", fmt::format("kind '{}': an mla latent is neither compressed nor folded into a linear "
                                   "memory; expected attention.kind: gqa",
                                   name)};
    if (layer.ffn && !layer.moe && model.ffn.intermediate == 0)
      return {"ffn", fmt::format("layer {} is dense, but ffn.intermediate is missing", i)};
  }
  if (std::string problem = share_layers(model, layers); !problem.empty())
    return {"sharing", std::move(problem)};
  return find_size_problem(model, layers);
}

std::vector<Layer> resolve_layers(const Model& model) {
  TESSERA_CHECK(find_layer_problem(model).text.empty(), "a model is checked when it is read");
  std::vector<Layer> layers;
  for (const int kind : unroll(model))
    layers.push_back(resolve(model, kind, static_cast<int>(layers.size())));
  share_layers(model, layers);
  return layers;
}

}  // namespace tessera
