#include "models/transformer/kv_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

using Numbers = std::vector<std::int64_t>;

struct Part {
  ShapePart text;
  std::size_t numbers;
  void (*apply)(Model& model, const Numbers& n);
};

void set_heads(Model& model, std::int64_t kv_heads) {
  if (model.attention.mla) throw InputError("the model's heads share a latent; expected a model without mla");
  model.attention.kv_heads = kv_heads;
  for (LayerKind& kind : model.kinds) kind.kv_heads = 0;
}

// DeepSeek-V2's proportions: a latent of four head widths, a rotary key of half of one.
void set_latent(Model& model, std::int64_t latent_heads) {
  if (model.attention.mla) throw InputError("the model has a latent already");
  AttentionSpec& a = model.attention;
  MlaSpec mla;
  mla.kv_lora_rank = 4 * a.head_dim;
  mla.nope_dim = mla.v_dim = a.head_dim;
  mla.rope_dim = a.head_dim / 2;
  mla.latent_heads = latent_heads;
  a.mla = mla;
  a.kind = "mla";
  a.k_equals_v = "no";
  a.kv_heads = a.heads;
  a.v_head_dim = a.head_dim;
  a.head_dim = mla.nope_dim + mla.rope_dim;
  for (LayerKind& kind : model.kinds)
    kind.heads = kind.kv_heads = kind.head_dim = kind.v_head_dim = 0, kind.k_equals_v = "model";
}

// One kind of attention layer, shaped by `change`.
LayerKind plain_kind(const Model& model, const char* name) {
  LayerKind kind = model.kinds.front();
  for (const LayerKind& other : model.kinds)
    if (other.mixer != "attention")
      throw InputError(
          fmt::format("it replaces the layer kinds, but '{}' layers are not attention", other.name));
  kind.name = name;
  kind.retention = "full";
  kind.window = kind.sinks = 0, kind.cascades = 1;
  kind.compressed.reset();
  kind.linear_memory = false;
  return kind;
}

LayerKind windowed(const Model& model, const char* retention, std::int64_t window, std::int64_t sinks = 0) {
  LayerKind kind = plain_kind(model, "local");
  kind.retention = retention;
  kind.window = window, kind.sinks = sinks;
  return kind;
}

void set_kinds(Model& model, std::vector<LayerKind> kinds, std::vector<std::string> pattern) {
  model.kinds = std::move(kinds);
  model.pattern = std::move(pattern);
}

void set_sharing(Model& model, const char* kind) {
  model.sharing = {};
  model.sharing.kind = kind;
}

const std::vector<Part>& parts() {
  static const std::vector<Part> list{
      {{"base", "base", "the model as it is"}, 0, [](Model&, const Numbers&) {}},
      {{"mha", "mha", "as many key/value heads as query heads"},
       0,
       [](Model& m, const Numbers&) { set_heads(m, m.attention.heads); }},
      {{"gqa", "gqa-G", "G key/value heads"}, 1, [](Model& m, const Numbers& n) { set_heads(m, n[0]); }},
      {{"mqa", "mqa", "one key/value head"}, 0, [](Model& m, const Numbers&) { set_heads(m, 1); }},
      {{"mla", "mla", "one latent of 4 head widths and half a rotary key"},
       0,
       [](Model& m, const Numbers&) { set_latent(m, 1); }},
      {{"gla", "gla-H", "the same latent split over H latent heads"},
       1,
       [](Model& m, const Numbers& n) { set_latent(m, n[0]); }},
      {{"tied", "tied", "K and V are one cached tensor"},
       0,
       [](Model& m, const Numbers&) { m.attention.k_equals_v = "cache"; }},
      {{"gta", "gta", "V is also the unrotated half of K, one rotary half for all heads"},
       0,
       [](Model& m, const Numbers&) { m.attention.k_equals_v = "half"; }},
      {{"w8", "w8", "fp8 weights in the linear layers and experts"},
       0,
       [](Model& m, const Numbers&) { m.precision.weights = "fp8"; }},
      {{"own", "own", "every layer stores its own keys and values"},
       0,
       [](Model& m, const Numbers&) { set_sharing(m, "none"); }},
      {{"cla", "cla-K", "every K layers share"},
       1,
       [](Model& m, const Numbers& n) { set_sharing(m, "adjacent"), m.sharing.factor = n[0]; }},
      {{"yoco", "yoco-W", "half the layers with a window of W, the others share one layer's KV"},
       1,
       [](Model& m, const Numbers& n) {
         LayerKind cross = plain_kind(m, "cross"), self = windowed(m, "window", n[0]);
         const std::int64_t half = m.layers / 2;
         set_kinds(m, {self, cross},
                   {fmt::format("local*{}", half), fmt::format("cross*{}", m.layers - half)});
         set_sharing(m, "first");
         m.sharing.of = "cross";
         m.sharing.skip_prefill = true;
       }},
      {{"lckv", "lckv-W", "W warm-up layers, one KV for all others, prompts in 9 passes"},
       1,
       [](Model& m, const Numbers& n) {
         set_sharing(m, "condensed");
         m.sharing.warmup = n[0], m.sharing.prefill_passes = 9;
       }},
      {{"minicache", "minicache", "from the middle on, pairs of layers merged, 1 token in 20 kept whole"},
       0,
       [](Model& m, const Numbers&) {
         set_sharing(m, "merged");
         m.sharing.factor = 2, m.sharing.from = m.layers / 2, m.sharing.kept_every = 20;
       }},
      {{"kvsharer", "kvsharer-N", "the last N layers read the first N"},
       1,
       [](Model& m, const Numbers& n) {
         if (n[0] >= m.layers)
           throw InputError(fmt::format("kvsharer-{}: expected fewer than the {} layers", n[0], m.layers));
         set_sharing(m, "map");
         for (std::int64_t i = 0; i < n[0]; ++i)
           m.sharing.map.push_back(fmt::format("{}={}", m.layers - n[0] + i, i));
       }},
      {{"full", "full", "every layer keeps all tokens"},
       0,
       [](Model& m, const Numbers&) { set_kinds(m, {plain_kind(m, "full")}, {"full"}); }},
      {{"window", "window-W", "every layer keeps the last W tokens"},
       1,
       [](Model& m, const Numbers& n) { set_kinds(m, {windowed(m, "window", n[0])}, {"local"}); }},
      {{"sinks", "sinks-S-W", "the first S tokens and the last W (StreamingLLM)"},
       2,
       [](Model& m, const Numbers& n) { set_kinds(m, {windowed(m, "window", n[1], n[0])}, {"local"}); }},
      {{"local", "local-K-W", "K layers with a window of W to one in full (Gemma 3: local-5-1024)"},
       2,
       [](Model& m, const Numbers& n) {
         const LayerKind full = plain_kind(m, "full");
         set_kinds(m, {windowed(m, "window", n[1]), full}, {fmt::format("local*{}", n[0]), "full"});
       }},
      {{"chunks", "chunks-K-W", "K layers with chunks of W to one in full (Llama 4: chunks-3-8192)"},
       2,
       [](Model& m, const Numbers& n) {
         const LayerKind full = plain_kind(m, "full");
         set_kinds(m, {windowed(m, "chunked", n[1]), full}, {fmt::format("local*{}", n[0]), "full"});
       }},
      {{"cascade", "cascade-K-W", "4 sinks and K sub-windows of W slots together"},
       2,
       [](Model& m, const Numbers& n) {
         LayerKind kind = windowed(m, "cascade", n[1], 4);
         kind.cascades = n[0];
         set_kinds(m, {kind}, {"local"});
       }},
      {{"strided", "strided-S-W", "an entry per S tokens and the last W tokens (DeepSeek-V4)"},
       2,
       [](Model& m, const Numbers& n) {
         LayerKind kind = windowed(m, "window", n[1]);
         kind.compressed.emplace().stride = n[0];
         set_kinds(m, {kind}, {"local"});
       }},
      {{"compressive", "compressive-S-W-M", "the last W tokens, then M entries of S tokens each"},
       3,
       [](Model& m, const Numbers& n) {
         LayerKind kind = windowed(m, "window", n[1]);
         CompressedSpec& c = kind.compressed.emplace();
         c.stride = n[0], c.slots = n[2], c.of = "evicted";
         set_kinds(m, {kind}, {"local"});
       }},
      {{"infini", "infini-W", "segments of W tokens and a linear memory (Infini-attention)"},
       1,
       [](Model& m, const Numbers& n) {
         LayerKind kind = windowed(m, "chunked", n[0]);
         kind.linear_memory = true;
         set_kinds(m, {kind}, {"local"});
       }},
  };
  return list;
}

// "local-5-1024" -> {local, {5, 1024}}; false if a piece after the name is not a number.
bool split_part(const std::string& text, std::string& name, Numbers& numbers) {
  std::size_t at = text.find('-');
  name = text.substr(0, at);
  while (at != std::string::npos) {
    const std::size_t next = text.find('-', at + 1);
    const std::string piece = text.substr(at + 1, next == std::string::npos ? next : next - at - 1);
    std::int64_t value = 0;
    const char* end = piece.data() + piece.size();
    const auto [stop, error] = std::from_chars(piece.data(), end, value);
    if (error != std::errc{} || stop != end || value < 1 || value > 1'000'000'000) return false;
    numbers.push_back(value);
    at = next;
  }
  return true;
}

void apply_part(Model& model, const std::string& text) {
  std::string name;
  Numbers numbers;
  const bool sound = split_part(text, name, numbers);
  std::vector<std::string> known;
  for (const Part& part : parts()) {
    known.emplace_back(part.text.syntax);
    if (name != part.text.name) continue;
    if (!sound || numbers.size() != part.numbers)
      throw InputError(fmt::format("expected {} with whole numbers from 1", part.text.syntax));
    part.apply(model, numbers);
    return;
  }
  const std::vector<std::string> formats = kv_format_names();
  known.insert(known.end(), formats.begin() + 1, formats.end());
  throw InputError(
      fmt::format("not a shape, expected parts such as {}{}", join(known, ", "), did_you_mean(text, known)));
}

// The rules a model file must meet, applied to the changed model.
Model checked(const Model& model) {
  Model again;
  read_spec(to_yaml(model), again);
  return again;
}

}  // namespace

const std::vector<ShapePart>& shape_parts() {
  static const std::vector<ShapePart> list = [] {
    std::vector<ShapePart> all;
    for (const Part& part : parts()) all.push_back(part.text);
    return all;
  }();
  return list;
}

ShapedModel apply_shape(const Model& model, const std::string& shape, const std::string& kv_dtype) {
  Model changed = model;
  std::string format = kv_dtype;
  const std::vector<std::string> formats = kv_format_names();
  for (std::size_t at = 0; at <= shape.size();) {
    const std::size_t plus = std::min(shape.find('+', at), shape.size());
    const std::string text = shape.substr(at, plus - at);
    try {
      if (std::find(formats.begin(), formats.end(), text) != formats.end())
        format = text;
      else
        apply_part(changed, text), changed = checked(changed);
    } catch (const InputError& error) {
      throw InputError({"shape '" + text + "'", 0, 0}, error.what());
    }
    at = plus + 1;
  }
  KvPrecision precision = resolve_kv_precision(changed, format);
  return {shape, std::move(changed), std::move(precision)};
}

}  // namespace tessera
