// Shapes as the tables of measured kernels hold them.
#pragma once

#include <cstdint>

#include "kernels/cost/kernel_table.hpp"

namespace tessera {

inline constexpr int kAsMeasured = KernelTable::kWeightCopies;

inline GemmShape gemm(std::int64_t m, std::int64_t n, std::int64_t k, int copies = kAsMeasured) {
  return {m, n, k, DType::bf16, copies};
}

inline AttentionShape heads(int q, int kv, bool replayed) {
  AttentionShape s;
  s.q_heads = q;
  s.kv_heads = kv;
  s.block_tokens = KernelTable::kBlockTokens;
  s.replayed = replayed;
  return s;
}

inline DecodeBatch batch(std::int64_t sequences, std::int64_t context) {
  DecodeBatch b;
  b.sequences = sequences;
  b.kv_tokens = sequences * context;
  return b;
}

}  // namespace tessera
