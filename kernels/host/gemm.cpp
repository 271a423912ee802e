#include "kernels/host/gemm.hpp"

namespace tessera::host {
namespace {

class GemmMath {
 public:
  using Cta = GemmProgram::Cta;

  static bool keeps(Tensor) { return false; }
  void begin(const Cta& c) {
    cols_ = c.cols;
    sum_.assign(static_cast<std::size_t>(c.rows) * c.cols, 0.0f);
  }
  void prologue(const Cta&, const Sram&) {}
  void step(const Cta& c, std::int64_t, const Sram& sram) {
    const LocalTile &a = sram[Tensor::a], &b = sram[Tensor::b];
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t i = 0; i < a.ref.cols; ++i) {
        const float left = a(r, i);
        const std::span<const float> right = b.row(i);
        for (std::int64_t col = 0; col < c.cols; ++col)
          sum_[static_cast<std::size_t>(r * cols_ + col)] += left * right[static_cast<std::size_t>(col)];
      }
  }
  void epilogue(const Cta&, const Sram&) {}
  float value(const Cta&, const TileRef& ref, std::int64_t row, std::int64_t col) {
    return sum_[static_cast<std::size_t>((row - ref.row) * cols_ + col - ref.col)];
  }

 private:
  std::int64_t cols_ = 0;
  std::vector<float> sum_;
};

class SplitSumMath {
 public:
  using Cta = SplitSumProgram::Cta;

  static bool keeps(Tensor) { return false; }
  void begin(const Cta& c) { sum_.assign(static_cast<std::size_t>(c.cols), 0.0f); }
  void prologue(const Cta&, const Sram&) {}
  void step(const Cta&, std::int64_t, const Sram& sram) {
    const std::span<const float> part = sram[Tensor::c_partial].row(0);
    for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += part[i];
  }
  void epilogue(const Cta&, const Sram&) {}
  float value(const Cta& c, const TileRef&, std::int64_t, std::int64_t col) {
    return sum_[static_cast<std::size_t>(col - c.col)];
  }

 private:
  std::vector<float> sum_;
};

HostTensor matrix(const std::vector<float>& values, std::int64_t rows, std::int64_t cols, double bytes) {
  HostTensor t = HostTensor::planes(1, rows, static_cast<int>(cols), Format::fp32, bytes);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) t.write(0, r, c, values[static_cast<std::size_t>(r * cols + c)]);
  return t;
}

}  // namespace

GemmRun run_gemm(const GemmProgram& p, const std::vector<float>& a, const std::vector<float>& b,
                 Format stored) {
  HostMemory memory;
  memory[Tensor::a] = matrix(a, p.m, p.k, p.element_bytes);
  memory[Tensor::b] = matrix(b, p.k, p.n, p.element_bytes);
  memory[Tensor::c] = HostTensor::planes(1, p.m, static_cast<int>(p.n), stored, p.output_bytes);
  memory[Tensor::c_partial] = HostTensor::planes(p.splits, p.m, static_cast<int>(p.n), Format::fp32, 4);
  GemmRun result;
  GemmMath math;
  result.traffic = run(p, math, memory);
  if (p.splits > 1) {
    const SplitSumProgram sum{p.m, p.n, p.splits, p.output_bytes};
    SplitSumMath add;
    result.traffic += run(sum, add, memory);
  }
  for (std::int64_t r = 0; r < p.m; ++r) {
    const float* row = memory[Tensor::c].row(0, r, 0, p.n);
    result.c.insert(result.c.end(), row, row + p.n);
  }
  return result;
}

}  // namespace tessera::host
