// The bytes of the KV cache: the only place that computes them.
//
//   group = entry bytes (kv_entry.hpp) x sharing map (sharing.hpp) x retention (kv_retention.hpp)
//           x precision (kv_precision.hpp)
//
// A model's layers fall into groups of equal shape and retention; a layer that keeps two kinds of entries
// (raw and compressed, latents and index keys) is in two groups. `layers_held` layers store, `layers_read`
// layers read what is stored (more if layers share). For a sequence of n tokens, the newest included, and per
// group:
//   bytes held    = layers_held x sum over parts of (bytes x (held(n) - newest) + full_bytes x newest)
//   bytes read    = layers_read x the same over at most read_limit entries, by one decode step
//   bytes written = layers_held x what the step that adds token n stores, a residual's emptying included
//   numbers converted by that step = layers_read x entries read that are not at full precision x numbers
// Capacity, traffic and computation are these separate ledgers: sharing lowers only the first, selection
// (read_limit) only the second, quantisation both and adds to the third. Useful bytes only: what a kernel
// moves (whole tiles, re-reads) is the cost model's ledger, not this one.
// Left out: the last tokens a compressor works on, block tables (under 0.01 %).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "models/transformer/kv_entry.hpp"
#include "models/transformer/kv_retention.hpp"
#include "models/transformer/layers.hpp"

namespace tessera {

struct KvGroup {
  std::string name;
  RetentionRule rule;
  std::int64_t layers_held = 0;    // layers that store an entry
  std::int64_t layers_read = 0;    // layers that attend to the stored entries
  std::int64_t layers_copied = 0;  // of layers_held, copies of another pipeline stage's
  std::vector<KvPart> parts;
  std::int64_t entry_bytes = 0;  // per entry and storing layer, at rest
  std::int64_t read_limit = 0;   // most entries a decode step reads per layer; 0: all that are held
  bool serves_another = false;   // index keys, magnitudes, kept tokens: nothing attends to them alone
  std::int64_t state_bytes = 0;  // per sequence and layer, whatever its length
  std::int64_t state_every = 1;  // tokens between two writes of the state
  std::string entry_formula;     // entry or state bytes with the numbers put in

  [[nodiscard]] std::int64_t tokens_held(std::int64_t context) const { return rule.held(context); }
  [[nodiscard]] std::int64_t tokens_read(std::int64_t context) const;
  [[nodiscard]] std::int64_t bytes_held(std::int64_t context) const;
  [[nodiscard]] std::int64_t decode_read_bytes(std::int64_t context) const;
  [[nodiscard]] std::int64_t decode_write_bytes(std::int64_t context) const;
  [[nodiscard]] std::int64_t numbers_converted(std::int64_t context) const;
  // Buffers of newest entries at full precision, beside the pages; per sequence.
  [[nodiscard]] std::int64_t residual_bytes() const;

  [[nodiscard]] std::int64_t blocks_held(std::int64_t context, std::int64_t block_tokens) const {
    return rule.pages(context, block_tokens);
  }
  [[nodiscard]] std::int64_t block_bytes(std::int64_t block_tokens) const {
    return layers_held * entry_bytes * rule.entries_per_page(block_tokens);
  }
  // A strided group's share of a token, rounded up.
  [[nodiscard]] std::int64_t bytes_per_token() const;

 private:
  [[nodiscard]] std::int64_t newest_at_full_precision(const KvPart& part, std::int64_t context,
                                                      std::int64_t entries) const;
  [[nodiscard]] std::int64_t layer_bytes(std::int64_t context, std::int64_t most_entries) const;
};

struct KvLayout {
  std::vector<KvGroup> groups;

  // What one more token adds in all layers before any window binds.
  [[nodiscard]] std::int64_t bytes_per_token() const;
  // What one more token adds to a sequence that has outgrown every window.
  [[nodiscard]] std::int64_t unbounded_bytes_per_token() const;
  [[nodiscard]] std::int64_t bytes_held(std::int64_t context) const;  // KV of one sequence, without state
  // One decode step at this context, its own token included; without state.
  [[nodiscard]] std::int64_t decode_read_bytes(std::int64_t context) const;
  [[nodiscard]] std::int64_t decode_write_bytes(std::int64_t context) const;
  [[nodiscard]] std::int64_t numbers_converted(std::int64_t context) const;
  // Constant state of one sequence. A recurrence is read and written by every step; a linear memory is read
  // by every step and written at the end of a chunk.
  [[nodiscard]] std::int64_t state_bytes() const;
  [[nodiscard]] std::int64_t state_write_bytes(std::int64_t context) const;
  // Kept for prefix reuse: a copy of the state after every `every` tokens. A hit can start only there.
  [[nodiscard]] std::int64_t snapshot_bytes(std::int64_t context, std::int64_t every) const;
  // What a seat needs beside its blocks.
  [[nodiscard]] std::int64_t sequence_bytes() const;

  // A block of a pool whose blocks span all layers, as engines without per-group pools allocate.
  [[nodiscard]] std::int64_t block_bytes(std::int64_t block_tokens) const;
  // Such blocks a sequence occupies: a block stays while any group retains a token of it.
  [[nodiscard]] std::int64_t blocks_held(std::int64_t context, std::int64_t block_tokens) const;
  // Bytes a sequence occupies if each group has blocks of its own, partly filled blocks included.
  [[nodiscard]] std::int64_t bytes_in_group_blocks(std::int64_t context, std::int64_t block_tokens) const;
  // The most it occupies so on its way to the context.
  [[nodiscard]] std::int64_t peak_bytes_in_group_blocks(std::int64_t context,
                                                        std::int64_t block_tokens) const;
};

// Layers [first, first + count) of a pipeline stage.
struct LayerRange {
  std::int64_t first = 0;
  std::int64_t count = std::numeric_limits<std::int64_t>::max();
};

// The layout of one tensor-parallel rank; tp = 1 is the whole model. A stage that reads a layer stored by
// another stage holds a copy of it (layers_copied).
KvLayout make_kv_layout(const Model& model, const KvPrecision& precision, std::int64_t tp = 1,
                        const LayerRange& range = {});

// "auto" follows the model's kv_cache, and that its dtype.
KvPrecision resolve_kv_precision(const Model& model, const std::string& name);

}  // namespace tessera
