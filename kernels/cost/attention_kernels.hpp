// The two libraries' closed forms behind kernels/cost/attention.hpp. Each prediction is made of
//   T = T0 + KV write + copies (FA2) + main kernel + combine,
// kernels one after another as in a replayed graph. Any batch with a prefill token is mixed_time.
#pragma once

#include "kernels/cost/attention.hpp"

namespace tessera {

namespace fa2 {
OpTime decode_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes);
OpTime mixed_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks);
}  // namespace fa2

namespace fa3 {
OpTime decode_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes);
OpTime mixed_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks);
}  // namespace fa3

}  // namespace tessera
