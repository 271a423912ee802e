#include "kernels/host/memory.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "models/base/check.hpp"

namespace tessera::host {
namespace {

// Drops the low `bits` of the mantissa, to nearest even.
float without_low_bits(float value, int bits) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t half = (1u << (bits - 1)) - 1 + ((u >> bits) & 1u);
  return std::bit_cast<float>((u + half) & ~((1u << bits) - 1));
}

float to_fp16(float value) {
  constexpr float kSmallestNormal = 0x1p-14f, kStep = 0x1p-24f, kLargest = 65504.0f;
  if (std::abs(value) < kSmallestNormal) return std::nearbyint(value / kStep) * kStep;
  const float result = without_low_bits(value, 13);
  return std::abs(result) > kLargest ? std::copysign(std::numeric_limits<float>::infinity(), value) : result;
}

}  // namespace

double bytes_of(Format format) { return format == Format::fp32 ? 4 : 2; }

float rounded(float value, Format format) {
  if (format == Format::fp32 || !std::isfinite(value)) return value;
  return format == Format::fp16 ? to_fp16(value) : without_low_bits(value, 16);
}

HostTensor::HostTensor(std::int64_t elements, int columns, Format format, double element_bytes,
                       Address address)
    : data_(static_cast<std::size_t>(elements), std::numeric_limits<float>::quiet_NaN()),
      columns_(columns),
      format_(format),
      element_bytes_(element_bytes),
      address_(std::move(address)) {}

HostTensor HostTensor::planes(std::int64_t count, std::int64_t rows, int columns, Format format,
                              double element_bytes) {
  return {count * rows * columns, columns, format, element_bytes,
          [rows, columns](std::int64_t plane, std::int64_t row) { return (plane * rows + row) * columns; }};
}

const float* HostTensor::row(std::int64_t plane, std::int64_t row, std::int64_t col,
                             std::int64_t cols) const {
  TESSERA_CHECK(exists(), "a program touches only tensors its launch has");
  const std::int64_t first = address_(plane, row);
  TESSERA_CHECK(col >= 0 && col + cols <= columns_, "a tile lies inside its tensor's columns");
  TESSERA_CHECK(first >= 0 && first + columns_ <= static_cast<std::int64_t>(data_.size()),
                "a tile lies inside its tensor");
  return data_.data() + first + col;
}

}  // namespace tessera::host
