// The bytes of the KV cache: the only place that computes them.
//
// A model's layers fall into groups of equal shape and retention. In a group, each of `layers_held` layers
// stores `entry_bytes` per retained token, and `layers_read` layers attend to what is stored (more than
// layers_held if layers share). For a sequence of n tokens, the newest included:
//   retained(n):  full n | window min(n, sinks + window) | chunked ((n - 1) mod window) + 1 | state 0
//   bytes held    = sum over groups of layers_held x entry_bytes x retained(n)
//   bytes read by one decode step = layers_read x entry_bytes x min(retained(n), read_limit)
//   bytes written by one token    = layers_held x entry_bytes
// Entry bytes of one layer and rank: GQA kv_heads/tp x (K dim + V dim) x bytes; MLA (kv_lora + rope) x bytes,
// not split by tensor parallelism (arXiv 2405.04434); MLA in fp8 is FlashMLA's record: kv_lora fp8 values,
// one fp32 scale per 128 of them, and the rotary key in bf16 (656 B for 512 + 64). Index keys of sparse
// attention are a group of their own: all of them are read, while the latent group reads at most top_k
// tokens. Useful bytes only: what a kernel moves (whole tiles, re-reads) is the cost model's ledger, not this
// one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/layers.hpp"

namespace tessera {

struct KvGroup {
  std::string name;
  Retention retention = Retention::full;
  std::int64_t window = 0;       // tokens of the window or chunk
  std::int64_t sinks = 0;        // first tokens a window keeps for good
  std::int64_t layers_held = 0;  // layers that store an entry
  std::int64_t layers_read = 0;  // layers that attend to the stored entries
  std::int64_t entry_bytes = 0;  // per token and storing layer
  std::int64_t read_limit = 0;   // most tokens a decode step reads per layer; 0: all that are retained
  std::int64_t state_bytes = 0;  // per sequence and layer, whatever its length
  std::string entry_formula;     // entry or state bytes with the numbers put in

  [[nodiscard]] std::int64_t tokens_held(std::int64_t context) const;
  [[nodiscard]] std::int64_t tokens_read(std::int64_t context) const;
  // KV pages holding the retained tokens, at pages aligned to the start of the sequence.
  [[nodiscard]] std::int64_t blocks_held(std::int64_t context, std::int64_t block_tokens) const;
  [[nodiscard]] std::int64_t bytes_per_token() const { return layers_held * entry_bytes; }
};

struct KvLayout {
  std::vector<KvGroup> groups;

  // What one more token adds in all layers before any window binds; also what it writes.
  [[nodiscard]] std::int64_t bytes_per_token() const;
  // What one more token adds to a sequence that has outgrown every window.
  [[nodiscard]] std::int64_t unbounded_bytes_per_token() const;
  [[nodiscard]] std::int64_t bytes_held(std::int64_t context) const;  // KV of one sequence, without state
  [[nodiscard]] std::int64_t decode_read_bytes(
      std::int64_t context) const;  // KV one decode step reads, without state
  // Recurrent state of one sequence; a step reads and writes all of it.
  [[nodiscard]] std::int64_t state_bytes() const;

  // A block of a pool whose blocks span all layers, as engines without per-group pools allocate.
  [[nodiscard]] std::int64_t block_bytes(std::int64_t block_tokens) const {
    return bytes_per_token() * block_tokens;
  }
  // Such blocks a sequence occupies: a block stays while any group retains a token of it.
  [[nodiscard]] std::int64_t blocks_held(std::int64_t context, std::int64_t block_tokens) const;
  // Bytes a sequence occupies if each group has blocks of its own, partly filled blocks included.
  [[nodiscard]] std::int64_t bytes_in_group_blocks(std::int64_t context, std::int64_t block_tokens) const;
};

// How one rank of `tp` tensor-parallel ranks stores a key/value head count: an equal share, or one head
// replicated tp / kv_heads times. Throws InputError if neither divides the other.
std::int64_t kv_heads_on_rank(std::int64_t kv_heads, std::int64_t tp);

// The layout of one tensor-parallel rank; tp = 1 is the whole model.
KvLayout make_kv_layout(const Model& model, DType kv_dtype, std::int64_t tp = 1);

// "auto" follows the model's dtype.
DType resolve_kv_dtype(const Model& model, const std::string& name);

}  // namespace tessera
