// What a tile program is: the loop nest of one kernel launch, written once. sim/gpu times it, the host
// executor (kernels/host) runs it on real numbers and counts its bytes, kernels/cuda launches the same
// bounds.
//
// A launch is `ctas()` CTAs, numbered in the order the hardware starts them. `cta(i)` works out once where
// CTA i stands (a small value, in at most logarithmic time); it is a prologue, `steps` turns of its main loop
// and an epilogue. Each part tells a visitor what it moves and computes:
//   v.load(TileRef)    global memory -> shared memory or registers
//   v.store(TileRef)   the other way; `accumulate` in the ref marks an atomic add
//   v.mma(m, n, k)     one m x n += m x k * k x n product on the tensor cores
//   v.exp(count)       exponentials on the special-function units
//   v.alu(count)       fp32 operations that neither of the above hides
// A part is a pure function of (program, cta, step), so that any of the three may walk it in any order.
// A CTA that finds nothing to do has no steps; what it still writes (zeros) stands in its epilogue.
// Tiles at an edge are as large as the tensor lets them be: `rows` x `cols` are the bytes moved, while mma
// and exp count the padded tile the hardware executes.
#pragma once

#include <concepts>
#include <cstdint>

namespace tessera {

enum class Tensor : std::uint8_t {
  q,
  k,
  v,
  o,
  lse,  // attention: lse = log-sum-exp (or the l and m statistics)
  scores,
  probabilities,  // N x N matrices of unfused attention
  mask,
  dropout,  // the kept/dropped bytes
  dropped,  // probabilities after dropout
  o_partial,
  lse_partial,  // of the splits of one row
  k_new,
  v_new,    // this step's keys and values before the KV write, one row a token, all heads wide
  q_input,  // queries as the model lays them out, before a copy packs them
  o_output,
  lse_output,  // and outputs after a copy has unpacked them
  q_gradient,
  k_gradient,
  v_gradient,
  o_gradient,
  scores_gradient,  // also of the probabilities, in place
  row_dot,          // rowsum(dO * O)
  a,
  b,
  c,
  c_partial,  // GEMM: a m x k, b k x n, c m x n
  input,
  output,
  weight,  // elementwise kernels and norms
  count
};

// Rows [row, row + rows) x columns [col, col + cols) of one plane (matrix) of a tensor. A plane is what the
// program says: (sequence, head) for attention, the split for partials, 0 for a lone matrix.
struct TileRef {
  Tensor tensor;
  bool accumulate = false;
  std::int32_t rows, cols;
  std::int64_t plane, row, col;
  double element_bytes;  // 0.5 for four-bit formats

  [[nodiscard]] constexpr std::int64_t elements() const { return std::int64_t{rows} * cols; }
  [[nodiscard]] constexpr std::int64_t bytes() const {
    return static_cast<std::int64_t>(static_cast<double>(elements()) * element_bytes);
  }
};

// What one CTA occupies on its SM, from which its occupancy follows.
struct CtaResources {
  int threads = 128;
  int registers_per_thread = 128;
  std::int64_t smem_bytes = 0;
  int stages = 1;  // loads of so many steps may be in flight; 1: a step computes only after its own load
};

// How the grid reaches the SMs.
enum class CtaOrder : std::uint8_t {
  in_order,    // the hardware starts CTA i as soon as a slot is free
  persistent,  // one CTA a slot; slot s takes s, s + slots, s + 2 slots, …
  work_queue,  // one CTA a slot that takes the next number from a counter
};

// A visitor that ignores everything: the least a program may demand of one.
struct NullVisitor {
  void load(const TileRef&) {}
  void store(const TileRef&) {}
  void mma(std::int64_t, std::int64_t, std::int64_t) {}
  void exp(std::int64_t) {}
  void alu(std::int64_t) {}
};

template <class P, class V = NullVisitor>
concept TileProgram = requires(const P& p, const typename P::Cta& cta, std::int64_t i, V& v) {
  { p.ctas() } -> std::convertible_to<std::int64_t>;
  { p.resources() } -> std::convertible_to<CtaResources>;
  { p.order() } -> std::convertible_to<CtaOrder>;
  { p.cta(i) } -> std::same_as<typename P::Cta>;
  { cta.steps } -> std::convertible_to<std::int64_t>;
  p.prologue(cta, v);
  p.step(cta, i, v);
  p.epilogue(cta, v);
};

}  // namespace tessera
