// FlashAttention-1: one CTA a head; its outer loop walks blocks of Bc keys, its inner loop blocks of Br
// queries, so that every outer turn reads Q and the running O, l, m of all queries again and writes them
// back.
//
// With M bytes of shared memory and e bytes an element Bc = M / (4 d e), in multiples of 16, and
// Br = min(Bc, d): Q, K, V and O blocks fill M. Traffic = 2 N d + 3 N d N / Bc = Theta(N^2 d^2 / M).
// Turns whose queries see none of the keys are skipped, except the first, which writes the zeros.
// Dropout regenerates its mask from a counter and moves no bytes. The backward pass is counted, not run.
// Source: FlashAttention (Dao et al. 2022), Algorithms 1 and 4, theorem 2. Left out: splitting a head over
// CTAs, windows, paged keys, the fp32 copy of O that the published code keeps between outer turns.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/tiles/attention_problem.hpp"
#include "kernels/tiles/attention_tiles.hpp"
#include "kernels/tiles/program.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {

struct FlashAttention1 {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t plane = 0, kv_plane = 0, sequence = 0;
    std::int64_t queries = 0, keys = 0, query_blocks = 0;
  };

  // Throws InputError where not even blocks of 16 keys fit, or for a window or paged keys.
  FlashAttention1(const AttentionProblem& problem, std::int64_t smem_bytes, bool key_mask = false);

  AttentionProblem problem;
  TileShape tile;
  bool key_mask = false;  // key-padding mask, one byte a key

  [[nodiscard]] std::int64_t ctas() const {
    return static_cast<std::int64_t>(problem.sequences.size()) * problem.q_heads;
  }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const {
    const std::int64_t elements =
        2 * (std::int64_t{tile.m} + tile.n) * std::max(problem.head_dim, problem.v_head_dim);
    return {256, 255, static_cast<std::int64_t>(static_cast<double>(elements) * problem.element_bytes), 1};
  }
  [[nodiscard]] Cta cta(std::int64_t number) const {
    Cta c;
    c.plane = number;
    c.sequence = number / problem.q_heads;
    c.kv_plane = c.sequence * problem.kv_heads + number % problem.q_heads / problem.group();
    const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(c.sequence)];
    c.queries = s.queries, c.keys = s.keys;
    c.query_blocks = tiles_of(s.queries, tile.m);
    c.steps = tiles_of(s.keys, tile.n) * c.query_blocks;
    return c;
  }

  // Whether queries of block i see keys of block j.
  [[nodiscard]] bool visits(const Cta& c, std::int64_t i, std::int64_t j) const {
    const std::int64_t last = std::min<std::int64_t>(c.queries, (i + 1) * tile.m) - 1;
    return j == 0 || problem.visible(c.keys - c.queries + last, c.keys).end > j * tile.n;
  }

  template <class V>
  void prologue(const Cta&, V&) const {}

  template <class V>
  void step(const Cta& c, std::int64_t step, V& v) const {
    const std::int64_t j = step / c.query_blocks, i = step % c.query_blocks;
    if (i == 0) {
      const std::int64_t keys = std::min<std::int64_t>(tile.n, c.keys - j * tile.n);
      v.load(ref(Tensor::k, c.kv_plane, j * tile.n, keys, problem.head_dim, problem.kv_element_bytes));
      v.load(ref(Tensor::v, c.kv_plane, j * tile.n, keys, problem.v_head_dim, problem.kv_element_bytes));
      if (key_mask)
        v.load({.tensor = Tensor::mask,
                .rows = 1,
                .cols = static_cast<std::int32_t>(keys),
                .plane = c.sequence,
                .row = 0,
                .col = j * tile.n,
                .element_bytes = 1});
    }
    if (!visits(c, i, j)) return;
    const std::int64_t rows = std::min<std::int64_t>(tile.m, c.queries - i * tile.m);
    const TileRef o = ref(Tensor::o, c.plane, i * tile.m, rows, problem.v_head_dim, problem.element_bytes);
    const TileRef statistics = ref(Tensor::lse, c.plane, i * tile.m, rows, 2, 4);  // l and m
    v.load(ref(Tensor::q, c.plane, i * tile.m, rows, problem.head_dim, problem.element_bytes));
    if (j > 0) v.load(o), v.load(statistics);
    const std::int64_t scores = std::int64_t{tile.m} * tile.n;
    v.mma(tile.m, tile.n, problem.head_dim);
    v.exp(scores);
    v.alu(4 * scores + 2 * std::int64_t{tile.m} * problem.v_head_dim);
    v.mma(tile.m, problem.v_head_dim, tile.n);
    v.store(o), v.store(statistics);
  }

  // Without keys there was no turn to write the zeros.
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    if (c.keys > 0) return;
    for (std::int64_t row = 0; row < c.queries; row += tile.m) {
      const std::int64_t rows = std::min<std::int64_t>(tile.m, c.queries - row);
      v.store(ref(Tensor::o, c.plane, row, rows, problem.v_head_dim, problem.element_bytes));
      v.store(ref(Tensor::lse, c.plane, row, rows, 2, 4));
    }
  }

  template <class F>
  void for_each(F&& f) const {
    f("attention", *this);
  }

  // Algorithm 4: K, V, dK, dV once; Q, dO, dQ (read and written), l, m and D = rowsum(dO * O) every outer
  // turn; D itself from one pass over O and dO.
  [[nodiscard]] Traffic backward_traffic() const;
  // l and m; backward also D.
  [[nodiscard]] std::int64_t peak_extra_bytes(bool backward) const;

 private:
  static TileRef ref(Tensor t, std::int64_t plane, std::int64_t row, std::int64_t rows, int cols,
                     double bytes) {
    return {.tensor = t,
            .rows = static_cast<std::int32_t>(rows),
            .cols = cols,
            .plane = plane,
            .row = row,
            .col = 0,
            .element_bytes = bytes};
  }
};

static_assert(TileProgram<FlashAttention1>);

}  // namespace tessera
