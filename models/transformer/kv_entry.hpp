// The bytes of one cached entry in one layer of one tensor-parallel rank.
//
//   grouped attention   K: heads x head_dim, V: heads x v_head_dim; heads = kv_heads / tp, at least 1
//   one tensor (K = V)  heads x head_dim
//   half tied (grouped-tied attention, arXiv 2505.21487)  V, and one rotary half key for all heads
//   latent (MLA, arXiv 2405.04434)  kv_lora + rope, on every rank; grouped latent: latent heads are shared
//   out latent in fp8       FlashMLA's record: kv_lora fp8 values, an fp32 scale per 128 of them, the rotary
//   key in
//                       bf16 (656 B for 512 + 64); in other quantised formats the rotary key stays as it is
//                       too
//   index keys          dim, and in fp8 one fp32 scale
// A part is one tensor under one KvScheme; a residual keeps its newest entries at full_bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/kv_precision.hpp"
#include "models/transformer/layers.hpp"

namespace tessera {

struct KvPart {
  std::int64_t bytes = 0;
  std::int64_t full_bytes = 0;
  std::int64_t numbers = 0;  // to convert when read; 0: the kernel takes them as they are
  KvScheme scheme;
};

struct KvEntry {
  std::vector<KvPart> parts;
  std::string formula;

  [[nodiscard]] std::int64_t bytes() const;
};

// How one rank of `tp` tensor-parallel ranks stores a key/value head count: an equal share, or one head
// replicated tp / kv_heads times. Throws InputError if neither divides the other.
std::int64_t kv_heads_on_rank(std::int64_t kv_heads, std::int64_t tp);

KvEntry grouped_entry(const Layer& layer, const KvPrecision& precision, std::int64_t tp);
KvEntry latent_entry(const MlaSpec& mla, const KvPrecision& precision, std::int64_t tp);
KvEntry index_entry(const IndexerSpec& indexer, const KvPrecision& precision);
// MiniCache: one magnitude per head and layer for K and for V, in the model's dtype.
KvEntry magnitude_entry(const Layer& layer, DType dtype, std::int64_t tp);

// Constant state of one sequence and layer: a recurrence, or the K x V memory of Infini-attention with its
// normaliser (arXiv 2404.07143).
KvEntry recurrent_state(const Model& model, std::int64_t tp);
KvEntry memory_state(const Layer& layer, DType dtype, std::int64_t tp);

}  // namespace tessera
