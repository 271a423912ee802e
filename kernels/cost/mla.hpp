// Multi-head latent attention (DeepSeek) of one layer on one GPU. Equations: mla.cpp.
#pragma once

#include <span>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

// Decode is absorbed: every head attends to the one latent record of a token (qk_dim = rank + rope, v_dim =
// rank; 576 and 512 in DeepSeek-V3). Prefill is expanded: keys and values of every head (192 and 128).
// v_dim = 0 is the indexer of sparse attention: scores only, over index keys of record_bytes.
struct MlaShape {
  int heads = 128;
  int qk_dim = 576;
  int v_dim = 512;
  double record_bytes = 1152;   // cached per token
  std::int64_t read_limit = 0;  // tokens attended after selection (decode); 0: all
  DType dtype = DType::bf16;
  bool replayed = false;  // as in AttentionShape
};

OpTime mla_decode_time(const Gpu& gpu, const MlaShape& shape, const DecodeBatch& decodes);
OpTime mla_prefill_time(const Gpu& gpu, const MlaShape& shape, std::span<const PrefillChunk> chunks);

double mla_decode_floor_us(const Gpu& gpu, const MlaShape& shape, const DecodeBatch& decodes);
double mla_prefill_floor_us(const Gpu& gpu, const MlaShape& shape, std::span<const PrefillChunk> chunks);

}  // namespace tessera
