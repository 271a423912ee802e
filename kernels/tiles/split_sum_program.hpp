// The second kernel of a GEMM with split k: adds the fp32 partial products of every element of C.
// A CTA takes 1,024 elements of one row, 4 a thread, and reads one split after the other.
// Left out: serial fix-up inside the GEMM's own epilogue.
#pragma once

#include <algorithm>

#include "kernels/tiles/program.hpp"
#include "models/base/units.hpp"

namespace tessera {

struct SplitSumProgram {
  static constexpr std::int64_t kChunk = 1024;
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t row = 0, col = 0;
    std::int32_t cols = 0;
  };

  std::int64_t m = 1, n = 1;
  int splits = 2;
  double output_bytes = 2;

  [[nodiscard]] std::int64_t ctas() const { return m * ceil_div(n, kChunk); }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const { return {256, 32, 0, 1}; }
  [[nodiscard]] Cta cta(std::int64_t number) const {
    const std::int64_t chunks = ceil_div(n, kChunk), col = number % chunks * kChunk;
    return {splits, number / chunks, col, static_cast<std::int32_t>(std::min(kChunk, n - col))};
  }

  template <class V>
  void prologue(const Cta&, V&) const {}
  template <class V>
  void step(const Cta& c, std::int64_t split, V& v) const {
    v.load(ref(Tensor::c_partial, split, c, 4));
    v.alu(c.cols);
  }
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    v.store(ref(Tensor::c, 0, c, output_bytes));
  }

 private:
  static TileRef ref(Tensor tensor, std::int64_t plane, const Cta& c, double bytes) {
    return {.tensor = tensor,
            .rows = 1,
            .cols = c.cols,
            .plane = plane,
            .row = c.row,
            .col = c.col,
            .element_bytes = bytes};
  }
};

static_assert(TileProgram<SplitSumProgram>);

}  // namespace tessera
