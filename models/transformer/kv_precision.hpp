// How cached numbers are stored, and what reading them costs.
//
//   effective bits = bits + group_bits / group,   bytes of d numbers = d x bits / 8 + groups x group_bits / 8
//
// A group is the numbers that share one scale (and zero point): along the head (`group` of its d numbers) or,
// `per_channel`, along tokens (`group` tokens of one channel). The newest `residual` tokens may stay at full
// precision: in a buffer that empties whole when it is full (KIVI's keys: context mod residual tokens) or
// slides (its values: the last residual tokens). KIVI: arXiv 2402.02750, group 32, residual 128, fp16 scale
// and zero point. nvfp4: an fp8 scale per 16 numbers. fp8 and int8: scales per tensor, not stored per token;
// a latent in fp8 is FlashMLA's record (see kv_layout.hpp). `native`: tensor cores take the format as it is;
// otherwise every number read is converted first: `dequant_ops` CUDA-core operations each.
// Left out: outlier numbers kept apart (KVQuant), codebooks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/hardware/gpu.hpp"

namespace tessera {

struct KvScheme {
  std::int64_t bits = 16;
  std::int64_t group = 0;  // numbers under one scale; 0: scales are not stored per token
  std::int64_t group_bits = 0;
  bool per_channel = false;
  std::int64_t residual = 0;
  bool residual_slides = false;

  // Of `heads` x `width` numbers of one token; a part of a byte counts as one.
  [[nodiscard]] std::int64_t bytes(std::int64_t heads, std::int64_t width) const;
  // Newest of `appended` entries that are at full precision.
  [[nodiscard]] std::int64_t full_precision(std::int64_t appended) const;
  [[nodiscard]] double effective_bits(std::int64_t width) const;
  // "2 heads x 128 x 4 bit + 8 groups x 32 bit", or "2 heads x 128 x 2 B".
  [[nodiscard]] std::string formula(std::int64_t heads, std::int64_t width) const;
};

struct KvPrecision {
  KvPrecision(DType type);  // NOLINT(google-explicit-constructor): a plain number format is a precision
  std::string name;
  KvScheme k;
  KvScheme v;
  DType base = DType::bf16;    // of residuals, and of what the format does not cover
  DType kernel = DType::bf16;  // what the attention kernel computes on
  bool native = true;
  bool skip_windows = false;  // window and chunk layers keep `base`

  [[nodiscard]] bool fp8() const { return kernel == DType::fp8; }
};

inline constexpr std::int64_t kDequantOps = 2;  // unpack, multiply-add

struct KvFormat {
  const char* name;
  const char* doc;
};
// Formats beyond the plain number formats: fp8-skip-window, int4, kivi-4, kivi-2, nvfp4.
const std::vector<KvFormat>& kv_formats();

// Every name a config may use: auto, the plain number formats and the above.
std::vector<std::string> kv_format_names();

// A plain number format or one of kv_formats(); `base` is the model's own. Throws InputError with a
// suggestion.
KvPrecision parse_kv_precision(const std::string& name, DType base);

}  // namespace tessera
