// Every composition of heads x sharing x retention x precision x tensor parallelism against a slow model that
// keeps a list of entries per layer and walks it token by token.
//
// The slow model knows no closed form, no group and no count: a layer is given one token after the other,
// folds tokens into compressed entries, lets entries go, empties its buffers of unquantised entries, and
// notes every byte it writes. What it then holds, reads and occupies is counted entry by entry.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <set>
#include <sstream>

#include "models/base/units.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kHeads = 16;  // query heads; powers of two everywhere, so that tp always divides

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return *rc::gen::inRange<std::int64_t>(low, high + 1);
}
bool coin() { return pick(0, 1) == 1; }

LayerKind random_kind(int index) {
  LayerKind kind;
  kind.name = "kind" + std::to_string(index);
  kind.retention = *rc::gen::element<std::string>("full", "window", "chunked", "cascade");
  if (kind.retention == "cascade") kind.cascades = pick(1, 4);
  if (kind.retention != "full") kind.window = kind.cascades * pick(1, 20);
  if ((kind.retention == "window" || kind.retention == "cascade") && coin()) kind.sinks = pick(0, 10);
  kind.kv_heads = coin() ? 1LL << pick(0, 4) : 0;
  kind.head_dim = coin() ? 2 * pick(1, 20) : 0;
  if (coin()) {
    CompressedSpec compressed;
    compressed.stride = pick(2, 9);
    compressed.of = kind.retention == "window" && kind.sinks == 0 && coin() ? "evicted" : "all";
    compressed.slots = pick(0, 1) * pick(1, 12);
    compressed.top_k = pick(0, 1) * pick(1, 6);
    kind.compressed = compressed;
  }
  return kind;
}

SharingSpec random_sharing(const Model& model) {
  SharingSpec sharing;
  sharing.kind =
      *rc::gen::element<std::string>("none", "adjacent", "last", "first", "condensed", "merged", "map");
  if (sharing.kind == "adjacent") sharing.factor = pick(1, 4);
  if (sharing.kind == "last") sharing.layers = pick(0, model.layers - 1);
  if (sharing.kind == "first") sharing.of = model.kinds.back().name;
  if (sharing.kind == "condensed") sharing.warmup = pick(0, 3);
  if (sharing.kind == "merged") {
    sharing.factor = pick(2, 3);
    sharing.from = pick(0, model.layers - 1);
    sharing.kept_every = pick(0, 1) * pick(2, 12);
  }
  if (sharing.kind == "map" && model.layers > 1) {
    const std::int64_t reader = pick(1, model.layers - 1);
    sharing.map = {std::to_string(reader) + "=" + std::to_string(pick(0, reader - 1))};
  }
  return sharing;
}

Model random_model() {
  Model model;
  model.name = "random";
  model.layers = pick(1, 9);
  model.attention.heads = kHeads;
  model.attention.kv_heads = 1LL << pick(0, 4);
  model.attention.head_dim = 2 * pick(1, 20);
  const std::int64_t form = pick(0, 5);
  if (form == 1) model.attention.v_head_dim = pick(1, 40);
  if (form == 2) model.attention.k_equals_v = "cache";
  if (form == 3) model.attention.k_equals_v = "half";
  if (form == 4) {
    model.attention.kind = "mla";
    MlaSpec mla;
    mla.latent_heads = 1LL << pick(0, 2);
    mla.kv_lora_rank = mla.latent_heads * pick(1, 40);
    mla.rope_dim = pick(0, 16);
    model.attention.mla = mla;
    if (coin()) model.attention.indexer = IndexerSpec{4, pick(1, 16), pick(1, 12)};
  }
  model.ffn.intermediate = 8;
  model.kinds.clear();
  const std::int64_t kinds = pick(1, 3);
  for (int i = 0; i < kinds; ++i) model.kinds.push_back(random_kind(i));
  if (form == 4)
    for (LayerKind& kind : model.kinds) kind.compressed.reset();
  if (form == 1)
    for (LayerKind& kind : model.kinds) kind.head_dim = 0;
  model.pattern.clear();
  for (std::int64_t i = 0, period = pick(1, 4); i < period; ++i)
    model.pattern.push_back("kind" + std::to_string(pick(0, kinds - 1)) + (coin() ? "*2" : ""));
  model.sharing = random_sharing(model);
  return model;
}

KvPrecision random_precision() {
  const std::string name = *rc::gen::element<std::string>("bf16", "fp8", "int8", "fp8-skip-window", "int4",
                                                          "kivi-4", "kivi-2", "nvfp4");
  KvPrecision precision = parse_kv_precision(name, DType::bf16);
  for (KvScheme* scheme : {&precision.k, &precision.v}) {
    if (scheme->group > 0) scheme->group = pick(1, 40);
    if (scheme->residual > 0) scheme->residual = pick(1, 30);
  }
  if (precision.native) precision.skip_windows = coin();
  return precision;
}

// --- the slow model -------------------------------------------------------------------------------

struct Tensor {  // one tensor of a store
  std::int64_t quantised = 0, full = 0, numbers = 0;
  std::int64_t buffer = 0;  // unquantised newest entries; 0: none
  bool slides = false;
};

struct Entry {
  std::int64_t serial = 0;    // which entry of its store, from 0
  std::int64_t position = 0;  // token it belongs to
  std::vector<bool> quantised;
};

// One store of one layer: raw entries, compressed ones, or index keys.
struct Store {
  std::vector<Tensor> tensors;
  std::string retention = "full";
  std::int64_t window = 0, sinks = 0, cascades = 1;
  std::int64_t stride = 1, lag = 0, slots = 0;
  std::int64_t read_limit = 0;

  std::deque<Entry> entries;             // held ones, oldest first (cascade: see rings)
  std::vector<std::deque<Entry>> rings;  // of a cascade
  std::vector<std::int64_t> let_go;      // by each ring
  std::int64_t tokens = 0, made = 0, written = 0;

  void step() {
    written = 0;
    const std::int64_t position = tokens++;
    if (stride == 1) {
      make(position);
    } else {
      const std::int64_t ready = tokens - lag;  // tokens that may be folded
      if (ready > 0 && ready % stride == 0) make(ready - stride);
    }
    if (retention == "window")
      std::erase_if(entries,
                    [&](const Entry& e) { return e.position >= sinks && e.position < tokens - window; });
    if (retention == "chunked")
      std::erase_if(entries, [&](const Entry& e) { return e.position / window != position / window; });
    if (slots > 0 && static_cast<std::int64_t>(entries.size()) > slots) entries.pop_front();
  }

  void make(std::int64_t position) {
    Entry entry;
    entry.serial = made++;
    entry.position = position;
    for (const Tensor& tensor : tensors) {
      entry.quantised.push_back(tensor.buffer == 0);
      written += tensor.buffer == 0 ? tensor.quantised : tensor.full;
    }
    if (retention == "cascade" && position >= sinks)
      into_ring(0, entry);
    else
      entries.push_back(entry);
    drop_leavers();
    empty_buffers();
  }

  // A window must let its leaver go before a buffer empties, or it would quantise what nobody keeps.
  void drop_leavers() {
    if (retention == "window")
      std::erase_if(entries,
                    [&](const Entry& e) { return e.position >= sinks && e.position < tokens - window; });
    if (retention == "chunked")
      std::erase_if(entries, [&](const Entry& e) { return e.position / window != (tokens - 1) / window; });
    if (slots > 0 && static_cast<std::int64_t>(entries.size()) > slots) entries.pop_front();
  }

  void into_ring(std::size_t ring, Entry entry) {
    if (ring >= static_cast<std::size_t>(cascades)) return;
    if (rings.size() <= ring) rings.resize(ring + 1), let_go.resize(ring + 1, 0);
    rings[ring].push_back(std::move(entry));
    if (static_cast<std::int64_t>(rings[ring].size()) <= window / cascades) return;
    const Entry oldest = rings[ring].front();
    rings[ring].pop_front();
    if (let_go[ring]++ % 2 == 0) into_ring(ring + 1, oldest);
  }

  template <class Visit>
  void each(Visit visit) {
    for (Entry& entry : entries) visit(entry);
    for (auto& ring : rings)
      for (Entry& entry : ring) visit(entry);
  }

  void empty_buffers() {
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const Tensor& tensor = tensors[t];
      if (tensor.buffer == 0) continue;
      if (!tensor.slides && made % tensor.buffer != 0) continue;
      const std::int64_t stays = tensor.slides ? made - tensor.buffer : made;  // from this serial on
      each([&](Entry& entry) {
        if (entry.serial >= stays || entry.quantised[t]) return;
        entry.quantised[t] = true;
        written += tensor.quantised;
      });
    }
  }

  std::int64_t bytes_of(const Entry& entry) const {
    std::int64_t sum = 0;
    for (std::size_t t = 0; t < tensors.size(); ++t)
      sum += entry.quantised[t] ? tensors[t].quantised : tensors[t].full;
    return sum;
  }

  std::vector<Entry> newest_first() {
    std::vector<Entry> all;
    each([&](Entry& entry) { all.push_back(entry); });
    std::sort(all.begin(), all.end(), [](const Entry& a, const Entry& b) { return a.serial > b.serial; });
    return all;
  }
};

std::int64_t round_up_bytes(std::int64_t bits) { return bits / 8 + (bits % 8 != 0); }

// Bits number by number: each carries its own, and a scale is paid where a group begins.
Tensor tensor_of(const KvScheme& scheme, std::int64_t heads, std::int64_t width, bool converted) {
  std::int64_t bits = 0;
  for (std::int64_t head = 0; head < heads; ++head)
    for (std::int64_t i = 0; i < width; ++i) {
      bits += scheme.bits;
      if (scheme.group > 0 && !scheme.per_channel && i % scheme.group == 0) bits += scheme.group_bits;
    }
  // Along tokens a scale serves `group` of them; one token pays its share, rounded up once.
  if (scheme.group > 0 && scheme.per_channel) {
    const std::int64_t shared = heads * width * scheme.group_bits;
    bits += shared / scheme.group + (shared % scheme.group != 0);
  }
  return {round_up_bytes(bits), heads * width * 2, converted ? heads * width : 0, scheme.residual,
          scheme.residual_slides};
}

std::int64_t heads_used_by_rank(std::int64_t kv_heads, std::int64_t tp) {
  std::set<std::int64_t> used;
  for (std::int64_t q = 0; q < kHeads / tp; ++q) used.insert(q * kv_heads / kHeads);
  return static_cast<std::int64_t>(used.size());
}

std::vector<Tensor> tensors_of(const Model& model, const Layer& layer, const KvPrecision& p,
                               std::int64_t tp) {
  const bool converted = !p.native;
  if (model.attention.mla) {
    const MlaSpec& mla = *model.attention.mla;
    const std::int64_t rank =
        heads_used_by_rank(mla.latent_heads, tp) * (mla.kv_lora_rank / mla.latent_heads);
    if (p.kernel == DType::fp8) return {{rank + (rank + 127) / 128 * 4 + 2 * mla.rope_dim, 0, 0, 0, false}};
    if (p.native) return {{(rank + mla.rope_dim) * p.k.bits / 8, 0, 0, 0, false}};
    return {tensor_of(p.k, 1, rank, true), {2 * mla.rope_dim, 2 * mla.rope_dim, 0, 0, false}};
  }
  const std::int64_t heads = heads_used_by_rank(layer.kv_heads, tp);
  if (layer.one_tensor) return {tensor_of(p.k, heads, layer.head_dim, converted)};
  if (layer.half_tied)
    return {tensor_of(p.v, heads, layer.head_dim, converted),
            tensor_of(p.k, 1, layer.head_dim / 2, converted)};
  return {tensor_of(p.k, heads, layer.head_dim, converted),
          tensor_of(p.v, heads, layer.v_head_dim, converted)};
}

Tensor index_tensor(const Model& model, const KvPrecision& p) {
  const std::int64_t dim = model.attention.indexer->dim;
  if (p.kernel == DType::fp8) return {dim + 4, 0, 0, 0, false};
  if (p.native) return {dim * p.k.bits / 8, 0, 0, 0, false};
  KvScheme scheme = p.v;
  scheme.residual = 0;
  return tensor_of(scheme, 1, dim, true);
}

// The stores a layer with KV of its own has; merged layers have the last two whoever stores the tensor.
std::vector<Store> stores_of(const Model& model, const Layer& layer, const KvPrecision& wanted,
                             std::int64_t tp) {
  const LayerKind& kind = model.kinds[static_cast<std::size_t>(layer.kind)];
  KvPrecision p = wanted;
  if (p.skip_windows && kind.retention != "full") p = KvPrecision(DType::bf16);
  Store raw;
  raw.tensors = tensors_of(model, layer, p, tp);
  raw.retention = kind.retention, raw.window = kind.window, raw.sinks = kind.sinks,
  raw.cascades = kind.cascades;
  std::vector<Store> stores{raw};
  if (model.attention.indexer) {
    stores[0].read_limit = model.attention.indexer->top_k;
    Store keys = raw;
    keys.tensors = {index_tensor(model, p)};
    stores.push_back(keys);
  }
  if (kind.compressed) {
    Store compressed;
    compressed.tensors = raw.tensors;
    compressed.stride = kind.compressed->stride;
    compressed.lag = kind.compressed->of == "evicted" ? kind.window : 0;
    compressed.slots = kind.compressed->slots;
    compressed.read_limit = kind.compressed->top_k;
    stores.push_back(compressed);
  }
  return stores;
}

std::vector<Store> merged_stores_of(const Model& model, const Layer& layer, const KvPrecision& p,
                                    std::int64_t tp) {
  const LayerKind& kind = model.kinds[static_cast<std::size_t>(layer.kind)];
  Store magnitudes;
  magnitudes.tensors = {{2 * heads_used_by_rank(layer.kv_heads, tp) * 2, 0, 0, 0, false}};
  magnitudes.retention = kind.retention, magnitudes.window = kind.window, magnitudes.sinks = kind.sinks;
  magnitudes.cascades = kind.cascades;
  std::vector<Store> stores{magnitudes};
  if (model.sharing.kept_every > 0) {
    Store kept;
    kept.tensors = tensors_of(model, layer, p, tp);
    kept.stride = model.sharing.kept_every;
    stores.push_back(kept);
  }
  return stores;
}

struct Ledger {
  std::int64_t held = 0, read = 0, written = 0, converted = 0, blocks = 0;
  bool operator==(const Ledger&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Ledger& l) {
  return out << "held " << l.held << ", read " << l.read << ", written " << l.written << ", converted "
             << l.converted << ", in blocks " << l.blocks;
}

Ledger count(Store& store, std::int64_t readers, std::int64_t block_tokens) {
  Ledger ledger;
  std::set<std::int64_t> pages;
  std::int64_t rank = 0;
  std::int64_t at_rest = 0;
  for (const Tensor& tensor : store.tensors) at_rest += tensor.quantised;
  const std::vector<Entry> all = store.newest_first();
  for (const Entry& entry : all) {
    ledger.held += store.bytes_of(entry);
    pages.insert(entry.serial * store.stride / block_tokens);
    if (store.read_limit > 0 && rank++ >= store.read_limit) continue;
    ledger.read += readers * store.bytes_of(entry);
    for (std::size_t t = 0; t < store.tensors.size(); ++t)
      if (entry.quantised[t]) ledger.converted += readers * store.tensors[t].numbers;
  }
  // Survivors of a cascade sit side by side in a ring.
  std::int64_t count = static_cast<std::int64_t>(pages.size());
  if (store.retention == "cascade")
    count = static_cast<std::int64_t>((all.size() + static_cast<std::size_t>(block_tokens) - 1) /
                                      static_cast<std::size_t>(block_tokens));
  std::int64_t room = 0;  // entries that begin in a page of block_tokens positions
  for (std::int64_t token = 0; token < block_tokens; ++token) room += token % store.stride == 0;
  ledger.blocks = count * room * at_rest;
  ledger.written = store.written;
  return ledger;
}

Ledger walk(const Model& model, const KvPrecision& precision, std::int64_t tp, std::int64_t context,
            std::int64_t block_tokens) {
  const std::vector<Layer> layers = resolve_layers(model);
  Ledger total;
  const auto play = [&](std::vector<Store> stores, std::int64_t readers) {
    for (Store& store : stores) {
      for (std::int64_t token = 0; token < context; ++token) store.step();
      const Ledger one = count(store, readers, block_tokens);
      total.held += one.held, total.read += one.read, total.written += one.written;
      total.converted += one.converted, total.blocks += one.blocks;
    }
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].kv_source == static_cast<int>(i)) {
      std::int64_t readers = 0;
      for (const Layer& reader : layers) readers += reader.kv_source == static_cast<int>(i);
      play(stores_of(model, layers[i], precision, tp), readers);
    }
    if (layers[i].merged) play(merged_stores_of(model, layers[i], precision, tp), 1);
  }
  return total;
}

Model sound_model() {
  for (;;) {
    const Model model = random_model();
    const bool mergeable = model.sharing.kind != "merged" || model.attention.kind == "gqa";
    if (mergeable && find_layer_problem(model).text.empty()) return model;
  }
}

void one_stack() {
  const Model model = sound_model();
  const KvPrecision precision = random_precision();
  const std::int64_t tp = 1LL << pick(0, 4);
  const std::int64_t context = pick(1, 90);
  const std::int64_t block_tokens = pick(1, 20);
  const KvLayout layout = make_kv_layout(model, precision, tp);
  Ledger fast;
  fast.held = layout.bytes_held(context), fast.read = layout.decode_read_bytes(context);
  fast.written = layout.decode_write_bytes(context);
  fast.converted = layout.numbers_converted(context);
  fast.blocks = layout.bytes_in_group_blocks(context, block_tokens);
  const Ledger slow = walk(model, precision, tp, context, block_tokens);
  if (fast == slow) return;
  std::ostringstream message;
  message << "fast: " << fast << "\nslow: " << slow << "\n"
          << precision.name << ", k group " << precision.k.group << " residual " << precision.k.residual
          << ", v group " << precision.v.group << " residual " << precision.v.residual << ", tp " << tp
          << ", context " << context << ", block " << block_tokens << "\n"
          << emit_yaml(to_yaml(model));
  RC_FAIL(message.str());
}

// The harness runs a property 100 times; each run draws 100 stacks.
RC_GTEST_PROP(KvComposition, TenThousandRandomStacksAgreeWithATokenByTokenWalk, ()) {
  for (int i = 0; i < 100; ++i) one_stack();
}

// Admission counts on peak_pages: never too few for any prefix, never more than two too many (sinks and
// window may share a page).
RC_GTEST_PROP(KvComposition, PeakPagesCoverEveryPrefixAndNoMore, ()) {
  const Model model = sound_model();
  const std::int64_t context = pick(1, 300);
  const std::int64_t block_tokens = pick(1, 20);
  for (const KvGroup& group : make_kv_layout(model, DType::bf16).groups) {
    std::int64_t most = 0;
    for (std::int64_t n = 0; n <= context; ++n) most = std::max(most, group.rule.pages(n, block_tokens));
    RC_ASSERT(group.rule.peak_pages(context, block_tokens) >= most);
    RC_ASSERT(group.rule.peak_pages(context, block_tokens) <= most + 2);
  }
}

}  // namespace
}  // namespace tessera
