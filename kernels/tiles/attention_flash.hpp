// The main kernel of FlashAttention-2 and -3: one CTA holds M rows of Q and walks its keys in tiles of N,
// last tile first, keeping output, row maximum and row sum in registers.
//
// Per tile: load N x d of K and N x dv of V, S = Q K^T (M N d), P = exp(S - max), O += P V (M N dv).
// Heads: with `packed`, row r of a KV head's plane is query r / G of query head r mod G (G query heads to a
// KV head); without, every query head has its own plane and reads its KV head's keys for itself. Splits: a
// row block's visible tiles are cut into equal runs, one CTA each, whose fp32 outputs and log-sum-exps
// kernels/tiles/attention_combine.hpp joins. Which CTA has which number is the library's own (enum
// Numbering). Built by attention_launch.hpp. Source: csrc/flash_attn/src/flash_fwd_kernel.h,
// hopper/{block.h,tile_scheduler.hpp}. Left out: reads of the block table and of sequence lengths (4 bytes a
// page and a sequence).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/tiles/attention_problem.hpp"
#include "kernels/tiles/attention_tiles.hpp"
#include "kernels/tiles/program.hpp"

namespace tessera {

// From the fastest-running coordinate to the slowest. Grids are as high as the longest sequence needs; CTAs
// past the rows of a shorter one leave at once.
enum class Numbering : std::uint8_t {
  rows_sequences_heads,         // FA2
  rows_splits_heads_sequences,  // FA2 split, FA3 static
  sections,                     // FA3 causal: heads of one section that fits L2, splits, rows descending
  ragged,  // FA3 varlen, no empty CTAs: rows descending, splits, heads, sequences; an unsplit sequence goes
           // by sections of heads, with rows descending inside
};

template <template <class> class List>
struct BasicFlashForward {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t first_key = 0;  // where tile 0 begins
    std::int64_t last_tile = 0;  // walked down from here
    std::int64_t keys = 0;
    std::int64_t q_plane = 0, kv_plane = 0, partial_plane = 0;
    std::int64_t first_row = 0;
    std::int64_t masked_from = 0, masked_until = 0;  // tiles at or above / below these mask scores
    std::int32_t rows = 0;                           // 0: past the end of its sequence
    std::int32_t sequence = 0, head = 0, split = 0, splits = 1;
  };

  BasicAttentionProblem<List> problem;
  TileShape tile;
  bool packed = false;
  Numbering numbering = Numbering::rows_sequences_heads;
  CtaOrder cta_order = CtaOrder::in_order;
  CtaResources cta_resources;
  int most_splits = 1;                 // of the launch: partial buffers are that deep
  List<std::int32_t> splits;           // of each sequence; empty: most_splits for all
  bool split_from_key_zero = false;    // FA2: cuts all tiles of the sequence, FA3 those the row block sees
  bool tiles_from_window = false;      // FA3: tile 0 of a row block is at the first key its window holds
  bool zeroes_empty_partials = false;  // FA2 writes zeros where a split has no keys
  std::int64_t section = 1;            // planes of one L2 section
  std::int64_t section_tiles = 0;      // ragged: key tiles one section holds; 0: all heads are one

  // Call once after the fields above are set: sizes of the grid.
  void number_ctas();

  [[nodiscard]] constexpr int group() const { return packed ? problem.group() : 1; }
  [[nodiscard]] constexpr int heads() const {
    return packed ? problem.kv_heads : problem.q_heads;
  }  // planes a sequence
  [[nodiscard]] constexpr std::int64_t planes() const {
    return static_cast<std::int64_t>(problem.sequences.size()) * heads();
  }
  [[nodiscard]] constexpr std::int64_t rows(std::int64_t sequence) const {
    return problem.sequences[static_cast<std::size_t>(sequence)].queries * group();
  }
  [[nodiscard]] constexpr std::int32_t splits_of(std::int64_t sequence) const {
    return splits.empty() ? most_splits : splits[static_cast<std::size_t>(sequence)];
  }

  [[nodiscard]] constexpr std::int64_t ctas() const { return ctas_; }
  [[nodiscard]] CtaResources resources() const { return cta_resources; }
  [[nodiscard]] CtaOrder order() const { return cta_order; }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const;
  // Key tiles [begin, end) that `count` rows from `row` on see, counted from key_origin().
  [[nodiscard]] constexpr KeyRange visible_tiles(const AttentionSequence& s, std::int64_t row,
                                                 std::int64_t count) const;
  [[nodiscard]] constexpr std::int64_t key_origin(const AttentionSequence& s, std::int64_t row) const {
    return tiles_from_window ? problem.visible(s.keys - s.queries + row / group(), s.keys).begin : 0;
  }
  // What the CTA of one row block and split walks.
  [[nodiscard]] constexpr Cta cta_at(std::int64_t sequence, std::int64_t head, std::int64_t block,
                                     std::int64_t split) const;
  // Splits of a row block that have keys, when only what it sees is cut.
  [[nodiscard]] constexpr std::int32_t filled_splits(std::int64_t sequence, std::int64_t block) const;

  // See AttentionProblem::placed.
  template <class Place>
  [[nodiscard]] BasicFlashForward<Viewed> placed(Place&& place) const {
    BasicFlashForward<Viewed> to;
    to.problem = problem.placed(place);
    to.tile = tile, to.packed = packed, to.numbering = numbering, to.cta_order = cta_order;
    to.cta_resources = cta_resources, to.most_splits = most_splits, to.splits = place(splits);
    to.split_from_key_zero = split_from_key_zero, to.zeroes_empty_partials = zeroes_empty_partials;
    to.tiles_from_window = tiles_from_window, to.section_tiles = section_tiles;
    to.section = section, to.ctas_ = ctas_, to.row_blocks_ = row_blocks_, to.first_ = place(first_);
    return to;
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    if (c.steps > 0)
      v.load(TileRef{.tensor = Tensor::q,
                     .rows = c.rows,
                     .cols = problem.head_dim,
                     .plane = c.q_plane,
                     .row = c.first_row,
                     .col = 0,
                     .element_bytes = problem.element_bytes});
  }

  template <class V>
  void step(const Cta& c, std::int64_t step, V& v) const {
    const std::int64_t t = c.last_tile - step;
    const std::int64_t key = c.first_key + t * tile.n;
    TileRef kv{.tensor = Tensor::k,
               .rows = static_cast<std::int32_t>(std::min<std::int64_t>(tile.n, c.keys - key)),
               .cols = problem.head_dim,
               .plane = c.kv_plane,
               .row = key,
               .col = 0,
               .element_bytes = problem.kv_element_bytes};
    v.load(kv);
    v.mma(tile.m, tile.n, problem.head_dim);
    const std::int64_t scores = std::int64_t{tile.m} * tile.n;
    v.exp(scores);
    // A score is compared with the maximum, scaled and shifted, summed and rounded; masks compare and
    // select. The output so far is rescaled.
    const bool masked = t >= c.masked_from || t < c.masked_until;
    v.alu((masked ? 6 : 4) * scores + std::int64_t{tile.m} * problem.v_head_dim);
    kv.tensor = Tensor::v;
    kv.cols = problem.v_head_dim;
    v.load(kv);
    v.mma(tile.m, problem.v_head_dim, tile.n);
  }

  template <class V>
  void epilogue(const Cta& c, V& v) const {
    if (c.rows == 0) return;
    const bool partial = c.splits > 1;
    TileRef out{.tensor = partial ? Tensor::o_partial : Tensor::o,
                .rows = c.rows,
                .cols = problem.v_head_dim,
                .plane = partial ? c.partial_plane : c.q_plane,
                .row = c.first_row,
                .col = 0,
                .element_bytes = partial ? 4.0 : problem.element_bytes};
    if (c.steps > 0 || !partial || zeroes_empty_partials) v.store(out);
    out.tensor = partial ? Tensor::lse_partial : Tensor::lse;
    out.cols = 1, out.element_bytes = 4.0;
    v.store(out);
  }

 private:
  // Heads of an unsplit sequence that run side by side: at most 16, a power of two.
  [[nodiscard]] constexpr std::int64_t section_heads(std::int64_t sequence) const;

  std::int64_t ctas_ = 0;
  std::int64_t row_blocks_ = 0;  // of the longest sequence
  List<std::int64_t> first_;     // ragged: CTAs before each sequence

  // The remainder of a division, leaving the quotient.
  static constexpr std::int64_t take(std::int64_t& from, std::int64_t count) {
    const std::int64_t rest = from % count;
    from /= count;
    return rest;
  }
  template <template <class> class>
  friend struct BasicFlashForward;
};

template <template <class> class List>
constexpr typename BasicFlashForward<List>::Cta BasicFlashForward<List>::cta(std::int64_t number) const {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  std::int64_t rest = number;
  switch (numbering) {
    case Numbering::rows_sequences_heads: {
      const std::int64_t block = take(rest, row_blocks_), sequence = take(rest, sequences);
      return cta_at(sequence, rest, block, 0);
    }
    case Numbering::rows_splits_heads_sequences: {
      const std::int64_t block = take(rest, row_blocks_), split = take(rest, most_splits);
      const std::int64_t head = take(rest, heads());
      return cta_at(rest, head, block, split);
    }
    case Numbering::sections: {
      const std::int64_t before = number / (section * row_blocks_ * most_splits) * section;
      rest = number - before * row_blocks_ * most_splits;
      const std::int64_t plane = before + take(rest, std::min(section, planes() - before));
      const std::int64_t block = take(rest, row_blocks_);
      return cta_at(plane / heads(), plane % heads(), row_blocks_ - 1 - block, rest);
    }
    case Numbering::ragged:
      break;
  }
  const auto after = std::upper_bound(first_.begin(), first_.end(), number);
  const std::int64_t sequence = after - first_.begin() - 1;
  rest = number - first_[static_cast<std::size_t>(sequence)];
  const std::int64_t blocks = tiles_of(rows(sequence), tile.m);
  if (splits_of(sequence) > 1) {
    const std::int64_t block = take(rest, blocks), split = take(rest, splits_of(sequence));
    return cta_at(sequence, rest, blocks - 1 - block, split);
  }
  const std::int64_t together = section_heads(sequence);
  const std::int64_t before = rest / (together * blocks) * together;
  rest -= before * blocks;
  const std::int64_t head = before + take(rest, std::min(together, heads() - before));
  return cta_at(sequence, head, blocks - 1 - rest, 0);
}

template <template <class> class List>
constexpr std::int64_t BasicFlashForward<List>::section_heads(std::int64_t sequence) const {
  if (section_tiles == 0) return heads();
  const std::int64_t tiles =
      std::max<std::int64_t>(1, tiles_of(problem.sequences[static_cast<std::size_t>(sequence)].keys, tile.n));
  std::int64_t together = 16;
  while (together > 1 && tiles * together > section_tiles) together /= 2;
  return std::min<std::int64_t>(together, heads());
}

template <template <class> class List>
constexpr typename BasicFlashForward<List>::Cta BasicFlashForward<List>::cta_at(std::int64_t sequence,
                                                                                std::int64_t head,
                                                                                std::int64_t block,
                                                                                std::int64_t split) const {
  const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(sequence)];
  const int g = group();
  Cta c;
  c.sequence = static_cast<std::int32_t>(sequence);
  c.head = static_cast<std::int32_t>(head);
  c.split = static_cast<std::int32_t>(split);
  c.splits = splits_of(sequence);
  c.first_row = block * tile.m;
  c.rows = static_cast<std::int32_t>(std::clamp<std::int64_t>(s.queries * g - c.first_row, 0, tile.m));
  if (c.rows == 0) return c;
  c.keys = s.keys;
  c.first_key = key_origin(s, c.first_row);
  c.q_plane = sequence * heads() + head;
  c.kv_plane = sequence * problem.kv_heads + (packed ? head : head / problem.group());
  c.partial_plane = split * planes() + c.q_plane;

  auto [begin, end] = visible_tiles(s, c.first_row, c.rows);
  if (c.splits > 1) {
    const std::int64_t from = split_from_key_zero ? 0 : begin;
    const std::int64_t all =
        split_from_key_zero ? tiles_of(s.keys, tile.n) : std::max<std::int64_t>(0, end - begin);
    const std::int64_t each = tiles_of(all, c.splits);
    begin = std::max(begin, from + split * each);
    end = std::min(end, from + (split + 1) * each);
  }
  c.steps = std::max<std::int64_t>(0, end - begin);
  c.last_tile = end - 1;
  const std::int64_t start = s.keys - s.queries;  // position of query 0
  c.masked_from = (problem.visible(start + c.first_row / g, s.keys).end - c.first_key) / tile.n;
  c.masked_until =
      tiles_of(problem.visible(start + (c.first_row + c.rows - 1) / g, s.keys).begin - c.first_key, tile.n);
  return c;
}

template <template <class> class List>
constexpr KeyRange BasicFlashForward<List>::visible_tiles(const AttentionSequence& s, std::int64_t row,
                                                          std::int64_t count) const {
  const std::int64_t start = s.keys - s.queries, origin = key_origin(s, row);
  return {(problem.visible(start + row / group(), s.keys).begin - origin) / tile.n,
          tiles_of(problem.visible(start + (row + count - 1) / group(), s.keys).end - origin, tile.n)};
}

template <template <class> class List>
constexpr std::int32_t BasicFlashForward<List>::filled_splits(std::int64_t sequence,
                                                              std::int64_t block) const {
  const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(sequence)];
  const std::int64_t row = block * tile.m;
  const KeyRange seen = visible_tiles(s, row, std::min<std::int64_t>(tile.m, rows(sequence) - row));
  const std::int64_t tiles = seen.end - seen.begin;
  if (tiles <= 0) return 0;
  return static_cast<std::int32_t>(tiles_of(tiles, tiles_of(tiles, splits_of(sequence))));
}

using FlashForward = BasicFlashForward<Owned>;
template <>
void FlashForward::number_ctas();

static_assert(TileProgram<FlashForward>);

}  // namespace tessera
