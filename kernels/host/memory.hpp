// Global memory of the host executor: one store of numbers per tensor, addressed as tile programs address it.
//
// A tensor maps (plane, row) to the place of that row's first element; the columns follow it. So the same
// program runs over [token, head, d] arrays, over packed views of them and over pages behind a block
// table. What nothing has written is NaN, so a program that reads too much shows in its result. Numbers are
// kept as float and rounded on every store to the storage format.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "kernels/tiles/program.hpp"

namespace tessera::host {

enum class Format : std::uint8_t { fp32, fp16, bf16 };
double bytes_of(Format format);  // 4, 2, 2
// To the nearest value of the format, ties to even.
float rounded(float value, Format format);

class HostTensor {
 public:
  using Address = std::function<std::int64_t(std::int64_t plane, std::int64_t row)>;

  HostTensor() = default;
  // `element_bytes` are what a transfer counts: those of the modelled format, even where it is kept wider.
  HostTensor(std::int64_t elements, int columns, Format format, double element_bytes, Address address);

  // A plain matrix a plane: `rows` x `columns` each.
  static HostTensor planes(std::int64_t count, std::int64_t rows, int columns, Format format,
                           double element_bytes);

  // The same numbers seen as other planes and rows.
  void view(Address address) { address_ = std::move(address); }

  [[nodiscard]] const float* row(std::int64_t plane, std::int64_t row, std::int64_t col,
                                 std::int64_t cols) const;
  // values(col) for every column of [col, col + cols), rounded to the format.
  template <class Values>
  void write_row(std::int64_t plane, std::int64_t row, std::int64_t col, std::int64_t cols, Values&& values) {
    float* to = const_cast<float*>(this->row(plane, row, col, cols));
    for (std::int64_t c = 0; c < cols; ++c) to[c] = rounded(values(col + c), format_);
  }
  void write(std::int64_t plane, std::int64_t row, std::int64_t col, float value) {
    write_row(plane, row, col, 1, [value](std::int64_t) { return value; });
  }
  [[nodiscard]] float at(std::int64_t plane, std::int64_t row, std::int64_t col) const {
    return *this->row(plane, row, col, 1);
  }
  [[nodiscard]] bool exists() const { return columns_ > 0; }
  [[nodiscard]] double element_bytes() const { return element_bytes_; }
  [[nodiscard]] int columns() const { return columns_; }

 private:
  std::vector<float> data_;
  int columns_ = 0;
  Format format_ = Format::fp32;
  double element_bytes_ = 4;
  Address address_;
};

class HostMemory {
 public:
  [[nodiscard]] HostTensor& operator[](Tensor t) { return tensors_[static_cast<std::size_t>(t)]; }
  [[nodiscard]] const HostTensor& operator[](Tensor t) const { return tensors_[static_cast<std::size_t>(t)]; }

 private:
  std::array<HostTensor, static_cast<std::size_t>(Tensor::count)> tensors_;
};

}  // namespace tessera::host
