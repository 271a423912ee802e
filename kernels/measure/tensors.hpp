// Tensors of random numbers on the device whose every element the host can work out (random_values.hpp).
#pragma once

#include "kernels/cuda/random_values.hpp"
#include "kernels/host/simt.hpp"
#include "kernels/measure/machine.hpp"
#include "models/base/units.hpp"

namespace tessera::measure {

inline cuda::Float16 format_of(const std::string& dtype) {
  return dtype == "float16" ? cuda::Float16::fp16 : cuda::Float16::bf16;
}

class RandomTensor {
 public:
  RandomTensor() = default;
  RandomTensor(Machine& machine, std::int64_t elements, cuda::Float16 format, std::uint64_t seed,
               float scale = 1)
      : buffer_(machine, cuda::kChunkHalves * ceil_div(elements, cuda::kChunkHalves)),
        format_(format),
        seed_(seed),
        scale_(scale) {
    if (format == cuda::Float16::bf16)
      fill<cuda::Float16::bf16>(machine);
    else
      fill<cuda::Float16::fp16>(machine);
  }
  [[nodiscard]] std::uint16_t* get() const { return buffer_.get(); }
  void poison() { buffer_.poison(); }
  // What lies there now, drawn or written over.
  [[nodiscard]] std::vector<std::uint16_t> read(std::int64_t first, std::int64_t count) const {
    return buffer_.read(first, count);
  }
  [[nodiscard]] double value(std::int64_t i) const {
    const float drawn = scale_ * cuda::random_value(seed_, static_cast<std::uint64_t>(i));
    return host::from_half(host::to_half(drawn, format_), format_);
  }

 private:
  template <cuda::Float16 kFormat>
  void fill(Machine& machine) {
    using Fill = cuda::FillKernel<kFormat>;
    const std::int64_t elements = buffer_.count();
    machine.launch<Fill>({Fill::ctas(elements), Fill::kThreads, 0}, {buffer_.get(), elements, seed_, scale_});
  }

  Buffer<std::uint16_t> buffer_;
  cuda::Float16 format_{};
  std::uint64_t seed_ = 0;
  float scale_ = 1;
};

// Results on the device, poisoned before the run that is checked.
inline std::vector<double> read_halves(const Buffer<std::uint16_t>& buffer, std::int64_t first,
                                       std::int64_t count, cuda::Float16 format) {
  std::vector<double> values;
  for (const std::uint16_t bits : buffer.read(first, count)) values.push_back(host::from_half(bits, format));
  return values;
}

}  // namespace tessera::measure
