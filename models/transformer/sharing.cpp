#include "models/transformer/sharing.hpp"

#include <fmt/format.h>

#include <charconv>

namespace tessera {
namespace {

class Sharing {
 public:
  Sharing(const Model& model, std::vector<Layer>& layers)
      : model_(model), spec_(model.sharing), layers_(layers), count_(static_cast<int>(layers.size())) {}

  std::string apply() {
    if (spec_.kind == "adjacent") return adjacent(0);
    if (spec_.kind == "last") return last();
    if (spec_.kind == "first") return first();
    if (spec_.kind == "condensed") return condensed();
    if (spec_.kind == "merged") return merged();
    if (spec_.kind == "map") return mapped();
    return {};
  }

 private:
  Layer& at(int i) { return layers_[static_cast<std::size_t>(i)]; }
  const std::string& kind_name(int i) { return model_.kinds[static_cast<std::size_t>(at(i).kind)].name; }
  std::string orphan(int i) {
    return fmt::format("layer {} ('{}') has no earlier layer of its kind to share with", i, kind_name(i));
  }

  std::string adjacent(int from) {
    const int factor = static_cast<int>(spec_.factor);
    for (int i = from; i < count_; ++i) {
      if (at(i).mixer != Mixer::attention) continue;
      const int source = i - (i - from) % factor;
      if (at(source).kind != at(i).kind) return orphan(i);
      at(i).kv_source = source;
    }
    return {};
  }

  std::string last() {
    const int holders = count_ - static_cast<int>(spec_.layers);
    for (int i = holders; i < count_; ++i) {
      if (at(i).mixer != Mixer::attention) continue;
      int source = holders - 1;
      while (source >= 0 && at(source).kind != at(i).kind) --source;
      if (source < 0) return orphan(i);
      at(i).kv_source = source;
    }
    return skip_prefill_from(holders);
  }

  std::string first() {
    int source = -1;
    for (int i = 0; i < count_; ++i) {
      if (kind_name(i) != spec_.of) continue;
      if (source < 0) source = i;
      if (at(i).mixer == Mixer::attention) at(i).kv_source = source;
    }
    if (source < 0 || at(source).mixer != Mixer::attention)
      return fmt::format("'{}' is not a kind of attention layers in the pattern", spec_.of);
    for (int i = source; i < count_ && spec_.skip_prefill; ++i)
      if (kind_name(i) != spec_.of)
        return fmt::format("layer {} ('{}') follows the first '{}' layer, so a prompt cannot stop there", i,
                           kind_name(i), spec_.of);
    return skip_prefill_from(source);
  }

  std::string skip_prefill_from(int from) {
    if (!spec_.skip_prefill) return {};
    for (int i = from; i < count_; ++i) {
      if (at(i).mixer == Mixer::recurrent)
        return fmt::format("layer {} has a recurrent state, which every token of a prompt must pass", i);
      at(i).late = true;
    }
    return {};
  }

  std::string condensed() {
    const int bottom = (static_cast<int>(spec_.warmup) + 1) / 2;
    const int top = count_ - 1 - static_cast<int>(spec_.warmup) / 2;
    if (top <= bottom) return fmt::format("{} warm-up layers leave none to share", spec_.warmup);
    for (int i = bottom; i <= top; ++i) {
      if (at(i).mixer != Mixer::attention || at(i).kind != at(top).kind)
        return fmt::format("layer {} ('{}') cannot read the KV of layer {} ('{}')", i, kind_name(i), top,
                           kind_name(top));
      at(i).kv_source = top;
      at(i).passes = static_cast<int>(spec_.prefill_passes);
    }
    return {};
  }

  std::string merged() {
    const int from = static_cast<int>(spec_.from);
    if (from >= count_) return fmt::format("from = {} is beyond the {} layers", from, count_);
    if (spec_.factor < 2) return "merged layers need a factor of at least 2";
    const std::string problem = adjacent(from);
    for (int i = from; i < count_ && problem.empty(); ++i) {
      const int first_of_set = i - (i - from) % static_cast<int>(spec_.factor);
      at(i).merged = at(i).mixer == Mixer::attention && first_of_set + 1 < count_;
    }
    return problem;
  }

  std::string mapped() {
    for (const std::string& text : spec_.map) {
      int reader = -1, source = -1;
      const char* end = text.data() + text.size();
      const auto a = std::from_chars(text.data(), end, reader);
      const bool equals = a.ec == std::errc{} && a.ptr != end && *a.ptr == '=';
      const auto b = equals ? std::from_chars(a.ptr + 1, end, source) : a;
      if (!equals || b.ec != std::errc{} || b.ptr != end || source < 0 || reader >= count_ ||
          source >= reader)
        return fmt::format("'{}': expected reader=source with 0 <= source < reader < {}", text, count_);
      if (at(reader).mixer != Mixer::attention || at(source).kind != at(reader).kind) return orphan(reader);
      if (at(source).kv_source != source)
        return fmt::format("'{}': layer {} stores no KV of its own", text, source);
      at(reader).kv_source = source;
    }
    for (int i = 0; i < count_; ++i)
      if (at(at(i).kv_source).kv_source != at(i).kv_source)
        return fmt::format("layer {} reads layer {}, which is itself a reader", i, at(i).kv_source);
    return {};
  }

  const Model& model_;
  const SharingSpec& spec_;
  std::vector<Layer>& layers_;
  int count_;
};

}  // namespace

std::string share_layers(const Model& model, std::vector<Layer>& layers) {
  return Sharing(model, layers).apply();
}

}  // namespace tessera
