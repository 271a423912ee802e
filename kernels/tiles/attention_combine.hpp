// The second kernel of split-KV attention: joins the partial outputs of one row,
//   O = sum_s exp(lse_s - lse) O_s,  lse = log sum_s exp(lse_s).
// A CTA takes `rows_per_cta` rows: all their log-sum-exps first, then one split after the other.
// FA2 runs over all rows of the launch and reads every split (empty ones hold zeros). FA3 runs per sequence,
// leaves where a sequence was not split and reads only splits that have keys.
// Source: csrc/flash_attn flash_fwd_kernel.h (combine_attn_seqk_parallel), hopper/flash_fwd_combine_kernel.h.
#pragma once

#include "kernels/tiles/attention_flash.hpp"

namespace tessera {

template <template <class> class List>
struct BasicFlashCombine {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t first_plane = 0;  // of the rows counted by `first_row`
    std::int64_t first_row = 0;    // counted through the planes of the launch or of the sequence
    std::int64_t rows = 0;         // 0: nothing to join
    std::int64_t sequence = 0;     // of first_plane
    std::int32_t splits = 0;
  };

  BasicFlashForward<List> forward;  // whose partials
  int rows_per_cta = 4;
  bool per_sequence = false;
  int threads = 128;
  int stages = 1;
  std::int64_t blocks_per_sequence = 0;  // of the longest, if per_sequence

  [[nodiscard]] constexpr std::int64_t ctas() const {
    const auto sequences = static_cast<std::int64_t>(forward.problem.sequences.size());
    if (!per_sequence) return tiles_of(forward.planes() * forward.rows(0), rows_per_cta);
    return sequences * blocks_per_sequence;
  }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const {
    const std::int64_t lse = std::int64_t{4} * rows_per_cta * forward.most_splits;
    const std::int64_t staged =
        stages > 1 ? std::int64_t{4} * stages * rows_per_cta * forward.problem.v_head_dim : 0;
    return {threads, 64, lse + staged, stages};
  }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const {
    Cta c;
    std::int64_t all = forward.planes() * forward.rows(0);
    if (per_sequence) {
      c.sequence = number / blocks_per_sequence;
      number %= blocks_per_sequence;
      c.first_plane = c.sequence * forward.heads();
      all = forward.rows(c.sequence) * forward.heads();
    }
    c.splits = forward.splits_of(c.sequence);
    if (c.splits <= 1) return c;
    c.first_row = number * rows_per_cta;
    c.rows = std::clamp<std::int64_t>(all - c.first_row, 0, rows_per_cta);
    if (c.rows == 0) return c;
    for_each_piece(c, [&](const Piece& p) { c.steps = std::max<std::int64_t>(c.steps, p.splits); });
    return c;
  }

  // See AttentionProblem::placed.
  template <class Place>
  [[nodiscard]] BasicFlashCombine<Viewed> placed(Place&& place) const {
    return {forward.placed(place), rows_per_cta, per_sequence, threads, stages, blocks_per_sequence};
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    for_each_piece(c, [&](const Piece& p) {
      for (std::int32_t s = 0; s < c.splits; ++s)
        v.load(ref(Tensor::lse_partial, s * forward.planes() + p.plane, p, 1, 4));
    });
  }
  template <class V>
  void step(const Cta& c, std::int64_t split, V& v) const {
    for_each_piece(c, [&](const Piece& p) {
      if (split >= p.splits) return;
      v.load(ref(Tensor::o_partial, split * forward.planes() + p.plane, p, forward.problem.v_head_dim, 4));
      v.exp(p.rows);
      v.alu(std::int64_t{2} * p.rows * forward.problem.v_head_dim);  // scale, add
    });
  }
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    for_each_piece(c, [&](const Piece& p) {
      v.store(ref(Tensor::o, p.plane, p, forward.problem.v_head_dim, forward.problem.element_bytes));
      v.store(ref(Tensor::lse, p.plane, p, 1, 4));
    });
  }

  // Rows of one plane and one row block of the main kernel, so that all have the same splits to read.
  struct Piece {
    std::int64_t plane, row;
    std::int32_t rows, splits;
  };
  template <class F>
  constexpr void for_each_piece(const Cta& c, F&& f) const {
    const std::int64_t height = forward.rows(c.sequence);
    for (std::int64_t at = c.first_row, end = c.first_row + c.rows; at < end;) {
      const std::int64_t plane = c.first_plane + at / height, row = at % height, block = row / forward.tile.m;
      const std::int64_t stop = std::min({height, (block + 1) * forward.tile.m, row + end - at});
      const std::int32_t filled =
          forward.zeroes_empty_partials ? c.splits : forward.filled_splits(c.sequence, block);
      f(Piece{plane, row, static_cast<std::int32_t>(stop - row), filled});
      at += stop - row;
    }
  }

 private:
  static TileRef ref(Tensor tensor, std::int64_t plane, const Piece& p, int cols, double bytes) {
    return {.tensor = tensor,
            .rows = p.rows,
            .cols = cols,
            .plane = plane,
            .row = p.row,
            .col = 0,
            .element_bytes = bytes};
  }
};

using FlashCombine = BasicFlashCombine<Owned>;

static_assert(TileProgram<FlashCombine>);

}  // namespace tessera
