// Streaming kernels: copies, activations, additions (ElementwiseProgram) and row norms (NormProgram).
//
// Elementwise: the flat array is cut into chunks of 16 bytes a thread and input, one CTA each; inputs are
// planes 0, 1, ... of Tensor::input. A gated activation has two inputs, a copy one. Norm: one CTA a row, held
// in registers between the mean square and the scaling, so that it is read once; `residual` adds a second
// input row and writes the sum back, as fused add-norm kernels do. Left out: chunks that straddle rows of a
// strided tensor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/tiles/attention_tiles.hpp"
#include "kernels/tiles/program.hpp"

namespace tessera {

struct ElementwiseProgram {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t chunk = 0;
    std::int32_t elements = 0;
  };

  std::int64_t elements = 0;
  int inputs = 1;
  std::int64_t ops_per_element = 0;
  double element_bytes = 2;
  int threads = 256;

  [[nodiscard]] constexpr std::int32_t chunk_elements() const {
    return static_cast<std::int32_t>(threads * 16 / element_bytes);
  }
  static constexpr bool touched_once(Tensor) { return true; }
  [[nodiscard]] constexpr std::int64_t ctas() const { return tiles_of(elements, chunk_elements()); }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const { return {threads, 32, 0, 1}; }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const {
    const std::int64_t left = elements - number * chunk_elements();
    return {0, number, static_cast<std::int32_t>(std::min<std::int64_t>(left, chunk_elements()))};
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    for (int i = 0; i < inputs; ++i) v.load(chunk(Tensor::input, i, c));
    v.alu(ops_per_element * c.elements);
  }
  template <class V>
  void step(const Cta&, std::int64_t, V&) const {}
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    v.store(chunk(Tensor::output, 0, c));
  }

 private:
  [[nodiscard]] TileRef chunk(Tensor tensor, std::int64_t plane, const Cta& c) const {
    return {.tensor = tensor,
            .rows = 1,
            .cols = c.elements,
            .plane = plane,
            .row = c.chunk,
            .col = 0,
            .element_bytes = element_bytes};
  }
};

struct NormProgram {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t row = 0;
  };

  std::int64_t rows = 0;
  int hidden = 4096;
  bool residual = false;
  double element_bytes = 2;

  static constexpr bool touched_once(Tensor t) { return t == Tensor::output; }
  [[nodiscard]] std::int64_t ctas() const { return rows; }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const { return {std::min(1024, tiles32(hidden)), 32, 0, 1}; }
  [[nodiscard]] Cta cta(std::int64_t number) const { return {0, number}; }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    v.load(at(Tensor::input, 0, c.row));
    if (residual) v.load(at(Tensor::input, 1, c.row));
    v.load(at(Tensor::weight, 0, 0));
    v.alu((residual ? 5 : 4) * std::int64_t{hidden});  // [add,] square, sum, two products
  }
  template <class V>
  void step(const Cta&, std::int64_t, V&) const {}
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    v.store(at(Tensor::output, 0, c.row));
    if (residual) v.store(at(Tensor::input, 1, c.row));
  }

 private:
  static constexpr int tiles32(int n) { return static_cast<int>(tiles_of(n, 32)) * 32; }
  [[nodiscard]] TileRef at(Tensor tensor, std::int64_t plane, std::int64_t row) const {
    return {.tensor = tensor,
            .rows = 1,
            .cols = hidden,
            .plane = plane,
            .row = row,
            .col = 0,
            .element_bytes = element_bytes};
  }
};

static_assert(TileProgram<ElementwiseProgram> && TileProgram<NormProgram>);

}  // namespace tessera
