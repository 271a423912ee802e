// Number formats by the names that model configs and serving engines use for them.
#include <array>
#include <string>
#include <vector>

#include "models/base/check.hpp"
#include "models/base/text.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {
namespace {

struct Format {
  DType type;
  const char* name;
  double bytes;
};
constexpr std::array kFormats{
    Format{DType::bf16, "bf16", 2}, Format{DType::fp16, "fp16", 2}, Format{DType::fp8, "fp8", 1},
    Format{DType::int8, "int8", 1}, Format{DType::fp4, "fp4", 0.5}, Format{DType::fp32, "fp32", 4},
};

// Longer spellings seen in checkpoints (torch_dtype) and engine flags (--kv-cache-dtype).
struct Alias {
  const char* spelling;
  DType type;
};
constexpr std::array kAliases{
    Alias{"bfloat16", DType::bf16}, Alias{"float16", DType::fp16}, Alias{"half", DType::fp16},
    Alias{"float32", DType::fp32},  Alias{"fp8_e4m3", DType::fp8}, Alias{"fp8_e5m2", DType::fp8},
    Alias{"nvfp4", DType::fp4},     Alias{"mxfp4", DType::fp4},
};

const Format& format_of(DType type) {
  for (const Format& format : kFormats)
    if (format.type == type) return format;
  TESSERA_CHECK(false, "every DType has a row in kFormats");
  return kFormats[0];
}

}  // namespace

double bytes_of(DType type) { return format_of(type).bytes; }

const char* name_of(DType type) { return format_of(type).name; }

DType parse_dtype(const std::string& name) {
  std::vector<std::string> names;
  for (const Format& format : kFormats) {
    if (name == format.name) return format.type;
    names.emplace_back(format.name);
  }
  const std::string expected = join(names, ", ");
  for (const Alias& alias : kAliases) {
    if (name == alias.spelling) return alias.type;
    names.emplace_back(alias.spelling);
  }
  throw InputError("'" + name + "' is not a number format, expected one of " + expected +
                   did_you_mean(name, names));
}

}  // namespace tessera
