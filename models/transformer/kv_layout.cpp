#include "models/transformer/kv_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();

// The layers of one kind in the range, as counts.
struct KindCount {
  const Layer* layer = nullptr;  // any of them
  std::int64_t read = 0, held = 0, copied = 0, merged = 0;
};

KindCount count_kind(const std::vector<Layer>& layers, int kind, const LayerRange& range) {
  KindCount count;
  std::set<int> sources;
  const auto size = static_cast<std::int64_t>(layers.size());
  const std::int64_t end = range.count > size - range.first ? size : range.first + range.count;
  for (std::int64_t i = range.first; i < end; ++i) {
    const Layer& layer = layers[static_cast<std::size_t>(i)];
    if (layer.kind != kind || layer.mixer == Mixer::none) continue;
    count.layer = &layer;
    ++count.read;
    count.merged += layer.merged;
    sources.insert(layer.mixer == Mixer::attention ? layer.kv_source : static_cast<int>(i));
  }
  count.held = static_cast<std::int64_t>(sources.size());
  for (const int source : sources) count.copied += source < range.first || source >= end;
  return count;
}

class LayoutBuilder {
 public:
  LayoutBuilder(const Model& model, const KvPrecision& precision, std::int64_t tp)
      : model_(model), precision_(precision), plain_(model.precision.activations()), tp_(tp) {
    if (bytes_of(precision_.base) < 2) precision_.base = plain_.base;
  }

  void add_kind(const KindCount& count, const std::string& name) {
    const Layer& layer = *count.layer;
    if (layer.mixer == Mixer::recurrent) {
      add_state(count, name, recurrent_state(model_, tp_), 1);
      return;
    }
    const bool windowed = layer.rule.kind != Retention::full;
    const KvPrecision& p = precision_.skip_windows && windowed ? plain_ : precision_;
    const KvEntry entry =
        model_.attention.mla ? latent_entry(*model_.attention.mla, p, tp_) : grouped_entry(layer, p, tp_);
    const std::int64_t top_k = layer.indexed ? model_.attention.indexer->top_k : 0;
    add(count, name, layer.rule, entry, layer.compressed ? 0 : top_k);
    if (layer.indexed && !layer.compressed)
      add(count, name + " index keys", layer.rule, index_entry(*model_.attention.indexer, p), 0)
          .serves_another = true;
    if (layer.compressed) {
      add(count, name + " compressed", *layer.compressed, entry, layer.compressed_top_k);
      if (layer.indexed)
        add(count, name + " compressed index keys", *layer.compressed,
            index_entry(*model_.attention.indexer, p), 0)
            .serves_another = true;
    }
    if (layer.linear_memory)
      add_state(count, name + " memory", memory_state(layer, plain_.base, tp_), layer.rule.window);
    if (count.merged > 0) add_merged(count, name, layer);
  }

  KvLayout layout;

 private:
  KvGroup& add(const KindCount& count, const std::string& name, const RetentionRule& rule,
               const KvEntry& entry, std::int64_t read_limit) {
    KvGroup group;
    group.name = name;
    group.rule = rule;
    group.layers_held = count.held, group.layers_read = count.read, group.layers_copied = count.copied;
    group.parts = entry.parts;
    group.entry_bytes = entry.bytes();
    group.read_limit = read_limit;
    group.entry_formula = entry.formula;
    return layout.groups.emplace_back(std::move(group));
  }

  void add_state(const KindCount& count, const std::string& name, const KvEntry& state, std::int64_t every) {
    RetentionRule rule;
    rule.kind = Retention::state;
    KvGroup& group = add(count, name, rule, state, 0);
    group.state_bytes = group.entry_bytes;
    group.state_every = every;
    group.entry_bytes = 0;
    group.parts.clear();
  }

  // Magnitudes and kept tokens belong to every merged layer, not to the pair.
  void add_merged(const KindCount& count, const std::string& name, const Layer& layer) {
    KindCount own = count;
    own.read = own.held = count.merged;
    add(own, name + " magnitudes", layer.rule, magnitude_entry(layer, plain_.base, tp_), 0).serves_another =
        true;
    if (model_.sharing.kept_every == 0) return;
    RetentionRule kept;
    kept.kind = Retention::strided;
    kept.stride = model_.sharing.kept_every;
    add(own, name + " kept tokens", kept, grouped_entry(layer, precision_, tp_), 0).serves_another = true;
  }

  const Model& model_;
  KvPrecision precision_;
  KvPrecision plain_;
  std::int64_t tp_;
};

template <class Value>
std::int64_t sum_over(const std::vector<KvGroup>& groups, Value value) {
  std::int64_t sum = 0;
  for (const KvGroup& group : groups) sum += value(group);
  return sum;
}

}  // namespace

std::int64_t KvGroup::tokens_read(std::int64_t context) const {
  const std::int64_t held = tokens_held(context);
  return read_limit > 0 ? std::min(held, read_limit) : held;
}

std::int64_t KvGroup::newest_at_full_precision(const KvPart& part, std::int64_t context,
                                               std::int64_t entries) const {
  if (part.scheme.residual == 0) return 0;
  const std::int64_t unquantised = part.scheme.full_precision(rule.appended(context));
  return std::min(entries, rule.held_of_newest(context, unquantised));
}

std::int64_t KvGroup::layer_bytes(std::int64_t context, std::int64_t most_entries) const {
  const std::int64_t entries = std::min(rule.held(context), most_entries);
  std::int64_t sum = 0;
  for (const KvPart& part : parts) {
    const std::int64_t newest = newest_at_full_precision(part, context, entries);
    sum += part.bytes * (entries - newest) + part.full_bytes * newest;
  }
  return sum;
}

std::int64_t KvGroup::bytes_held(std::int64_t context) const {
  return layers_held * layer_bytes(context, kAll);
}

std::int64_t KvGroup::decode_read_bytes(std::int64_t context) const {
  return layers_read * layer_bytes(context, read_limit > 0 ? read_limit : kAll);
}

std::int64_t KvGroup::decode_write_bytes(std::int64_t context) const {
  TESSERA_CHECK(context >= 1, "a step adds a token");
  const std::int64_t made = rule.appended(context);
  if (made == rule.appended(context - 1)) return 0;
  std::int64_t sum = 0;
  for (const KvPart& part : parts) {
    const std::int64_t residual = part.scheme.residual;
    if (residual == 0) {
      sum += part.bytes;
      continue;
    }
    sum += part.full_bytes;
    const std::int64_t in_buffer = rule.held_of_newest(context, residual);
    if (part.scheme.residual_slides)
      sum += part.bytes * (rule.held_of_newest(context, residual + 1) - in_buffer);  // the one that leaves
    else if (made % residual == 0)
      sum += part.bytes * in_buffer;
  }
  return layers_held * sum;
}

std::int64_t KvGroup::numbers_converted(std::int64_t context) const {
  const std::int64_t entries = tokens_read(context);
  std::int64_t sum = 0;
  for (const KvPart& part : parts)
    sum += part.numbers * (entries - newest_at_full_precision(part, context, entries));
  return layers_read * sum;
}

std::int64_t KvGroup::residual_bytes() const {
  std::int64_t sum = 0;
  for (const KvPart& part : parts) sum += part.scheme.residual * part.full_bytes;
  return layers_held * sum;
}

std::int64_t KvGroup::bytes_per_token() const { return ceil_div(layers_held * entry_bytes, rule.stride); }

std::int64_t KvLayout::bytes_per_token() const {
  return sum_over(groups, [](const KvGroup& g) { return g.bytes_per_token(); });
}

std::int64_t KvLayout::unbounded_bytes_per_token() const {
  return sum_over(groups, [](const KvGroup& g) { return g.rule.bounded() ? 0 : g.bytes_per_token(); });
}

std::int64_t KvLayout::bytes_held(std::int64_t context) const {
  return sum_over(groups, [&](const KvGroup& g) { return g.bytes_held(context); });
}

std::int64_t KvLayout::decode_read_bytes(std::int64_t context) const {
  return sum_over(groups, [&](const KvGroup& g) { return g.decode_read_bytes(context); });
}

std::int64_t KvLayout::decode_write_bytes(std::int64_t context) const {
  return sum_over(groups, [&](const KvGroup& g) { return g.decode_write_bytes(context); });
}

std::int64_t KvLayout::numbers_converted(std::int64_t context) const {
  return sum_over(groups, [&](const KvGroup& g) { return g.numbers_converted(context); });
}

std::int64_t KvLayout::state_bytes() const {
  return sum_over(groups, [](const KvGroup& g) { return g.layers_held * g.state_bytes; });
}

std::int64_t KvLayout::state_write_bytes(std::int64_t context) const {
  return sum_over(groups, [&](const KvGroup& g) {
    return context % g.state_every == 0 ? g.layers_held * g.state_bytes : 0;
  });
}

std::int64_t KvLayout::snapshot_bytes(std::int64_t context, std::int64_t every) const {
  TESSERA_CHECK(every > 0, "snapshots are some tokens apart");
  return context / every * state_bytes();
}

std::int64_t KvLayout::sequence_bytes() const {
  return state_bytes() + sum_over(groups, [](const KvGroup& g) { return g.residual_bytes(); });
}

std::int64_t KvLayout::block_bytes(std::int64_t block_tokens) const {
  return sum_over(groups, [&](const KvGroup& g) { return g.block_bytes(block_tokens); });
}

std::int64_t KvLayout::blocks_held(std::int64_t context, std::int64_t block_tokens) const {
  TESSERA_CHECK(context >= 0 && block_tokens > 0, "blocks hold tokens");
  RetentionRule::LivePages all{0, ceil_div(context, block_tokens)};
  for (const KvGroup& group : groups) {
    const RetentionRule::LivePages live = group.rule.live_pages(context, block_tokens);
    all.kept_prefix = std::max(all.kept_prefix, live.kept_prefix);
    all.first_live = std::min(all.first_live, live.first_live);
  }
  return ceil_div(context, block_tokens) - std::max<std::int64_t>(0, all.first_live - all.kept_prefix);
}

std::int64_t KvLayout::bytes_in_group_blocks(std::int64_t context, std::int64_t block_tokens) const {
  return sum_over(groups, [&](const KvGroup& g) {
    return g.blocks_held(context, block_tokens) * g.block_bytes(block_tokens);
  });
}

std::int64_t KvLayout::peak_bytes_in_group_blocks(std::int64_t context, std::int64_t block_tokens) const {
  return sum_over(groups, [&](const KvGroup& g) {
    return g.rule.peak_pages(context, block_tokens) * g.block_bytes(block_tokens);
  });
}

KvPrecision resolve_kv_precision(const Model& model, const std::string& name) {
  const DType base = model.precision.activations();
  const KvCacheSpec& spec = model.kv_cache;
  const std::string& format = name == "auto" ? spec.format : name;
  KvPrecision precision = format == "auto" ? KvPrecision(base) : parse_kv_precision(format, base);
  for (KvScheme* scheme : {&precision.k, &precision.v}) {
    if (spec.group && scheme->group == 0)
      throw InputError(fmt::format("kv_cache.group: {} has no scales per group", precision.name));
    if (spec.residual && precision.native)
      throw InputError(fmt::format("kv_cache.residual: {} is not quantised in groups", precision.name));
    if (spec.group) scheme->group = *spec.group;
    if (spec.residual) scheme->residual = *spec.residual;
  }
  precision.skip_windows = precision.skip_windows || spec.skip_windows;
  return precision;
}

KvLayout make_kv_layout(const Model& model, const KvPrecision& precision, std::int64_t tp,
                        const LayerRange& range) {
  TESSERA_CHECK(tp >= 1, "a layout has ranks");
  const std::vector<Layer> layers = resolve_layers(model);
  LayoutBuilder builder(model, precision, tp);
  for (std::size_t kind = 0; kind < model.kinds.size(); ++kind) {
    const KindCount count = count_kind(layers, static_cast<int>(kind), range);
    if (count.layer != nullptr) builder.add_kind(count, model.kinds[kind].name);
  }
  return std::move(builder.layout);
}

}  // namespace tessera
