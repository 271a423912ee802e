#include "kernels/cost/kv_convert.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/transformer/kv_precision.hpp"

namespace tessera {
namespace {

constexpr double kLanes = 64;

}  // namespace

OpTime converted_attention_time(const Gpu& gpu, const OpTime& sixteen_bit, double sixteen_bit_bytes,
                                double stored_bytes, double numbers) {
  TESSERA_CHECK(sixteen_bit_bytes > 0 && stored_bytes >= 0 && numbers >= 0, "a cache that was read");
  const double share = std::min(1.0, stored_bytes / sixteen_bit_bytes);
  const double operations_per_us = static_cast<double>(gpu.sms.value) * kLanes * gpu.max_clock_mhz;
  const double convert = numbers * static_cast<double>(kDequantOps) / operations_per_us;
  OpTime time = sixteen_bit;
  const double saved = time.hbm * (1 - share);
  time.hbm -= saved;
  time.compute += convert;
  time.total =
      std::max(time.total - saved + convert, std::max(convert, stored_bytes / gpu.hbm_bytes_per_us()));
  time.in_range = false;
  return time;
}

}  // namespace tessera
