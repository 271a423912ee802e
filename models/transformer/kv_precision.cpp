#include "models/transformer/kv_precision.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kPairBits = 32;  // an fp16 scale and an fp16 zero point

KvScheme plain(DType type) {
  KvScheme scheme;
  scheme.bits = static_cast<std::int64_t>(bytes_of(type) * 8);
  return scheme;
}

KvPrecision quantised(const char* name, DType base, KvScheme k, KvScheme v) {
  KvPrecision precision(base);
  precision.name = name;
  precision.k = k, precision.v = v;
  precision.native = false;
  return precision;
}

KvPrecision kivi(const char* name, DType base, std::int64_t bits) {
  KvScheme keys{bits, 32, kPairBits, true, 128, false};
  KvScheme values{bits, 32, kPairBits, false, 128, true};
  return quantised(name, base, keys, values);
}

}  // namespace

std::int64_t KvScheme::bytes(std::int64_t heads, std::int64_t width) const {
  std::int64_t total = heads * width * bits;
  if (group > 0)
    total += per_channel ? ceil_div(heads * width * group_bits, group)
                         : heads * ceil_div(width, group) * group_bits;
  return ceil_div(total, 8);
}

std::int64_t KvScheme::full_precision(std::int64_t appended) const {
  if (residual == 0) return 0;
  return residual_slides ? std::min(appended, residual) : appended % residual;
}

double KvScheme::effective_bits(std::int64_t width) const {
  return 8.0 * static_cast<double>(bytes(1, width)) / static_cast<double>(width);
}

std::string KvScheme::formula(std::int64_t heads, std::int64_t width) const {
  if (group == 0 && bits % 8 == 0) return fmt::format("{} heads x {} x {} B", heads, width, bits / 8);
  if (group == 0) return fmt::format("{} heads x {} x {} bit", heads, width, bits);
  if (per_channel)
    return fmt::format("{} heads x {} x ({} + {}/{}) bit", heads, width, bits, group_bits, group);
  return fmt::format("{} heads x ({} x {} + {} x {}) bit", heads, width, bits, ceil_div(width, group),
                     group_bits);
}

KvPrecision::KvPrecision(DType type)
    : name(name_of(type)), k(plain(type)), v(plain(type)), base(type), kernel(type) {}

const std::vector<KvFormat>& kv_formats() {
  static const std::vector<KvFormat> formats{
      {"fp8-skip-window", "fp8, but window and chunk layers keep the model's precision"},
      {"int4", "4 bit, fp16 scale and zero point per 128 numbers of a token: 4.25 bits"},
      {"kivi-4", "KIVI at 4 bit: keys per channel, values per token, newest 128 tokens at full precision"},
      {"kivi-2", "KIVI at 2 bit: 3 bits with its scales"},
      {"nvfp4", "4 bit with an fp8 scale per 16 numbers: 4.5 bits"},
  };
  return formats;
}

std::vector<std::string> kv_format_names() {
  std::vector<std::string> names{"auto", "bf16", "fp16", "fp32", "fp8", "int8"};
  for (const KvFormat& format : kv_formats()) names.emplace_back(format.name);
  return names;
}

KvPrecision parse_kv_precision(const std::string& name, DType base) {
  if (name == "fp8-skip-window") {
    KvPrecision precision(DType::fp8);
    precision.name = name;
    precision.base = base;
    precision.skip_windows = true;
    return precision;
  }
  const KvScheme int4{4, 128, kPairBits, false, 0, false};
  if (name == "int4") return quantised("int4", base, int4, int4);
  if (name == "kivi-4") return kivi("kivi-4", base, 4);
  if (name == "kivi-2") return kivi("kivi-2", base, 2);
  const KvScheme nvfp4{4, 16, 8, false, 0, false};
  if (name == "nvfp4") return quantised("nvfp4", base, nvfp4, nvfp4);
  try {
    KvPrecision precision(parse_dtype(name));
    if (bytes_of(precision.kernel) == 1) precision.base = base;
    if (bytes_of(precision.kernel) >= 1) return precision;  // fp4 alone does not say its scales
  } catch (const InputError&) {                             // the list below is the longer one
  }
  const std::vector<std::string> known = kv_format_names();
  throw InputError(
      fmt::format("kv_dtype '{}': expected one of {}{}", name, join(known, ", "), did_you_mean(name, known)));
}

}  // namespace tessera
