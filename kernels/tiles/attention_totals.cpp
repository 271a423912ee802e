#include "kernels/tiles/attention_totals.hpp"

#include <tuple>

namespace tessera {
namespace {

std::int64_t bytes(std::int64_t elements, double each) {
  return static_cast<std::int64_t>(static_cast<double>(elements) * each);
}

struct RowBlock {
  std::int64_t rows;
  std::int64_t origin;  // key of tile 0
  KeyRange tiles;       // visible
  std::int64_t filled;  // splits that have keys
};

// f(index, sequence, block) for every row block of one head of every sequence.
template <class F>
void for_each_block(const FlashForward& p, F&& f) {
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(p.problem.sequences.size()); ++i) {
    const AttentionSequence& s = p.problem.sequences[static_cast<std::size_t>(i)];
    const std::int64_t rows = s.queries * p.group(), splits = p.splits_of(i);
    for (std::int64_t row = 0; row < rows; row += p.tile.m) {
      const std::int64_t count = std::min<std::int64_t>(p.tile.m, rows - row);
      RowBlock b{count, p.key_origin(s, row), p.visible_tiles(s, row, count), 0};
      const std::int64_t tiles = b.tiles.end - b.tiles.begin;
      if (tiles > 0 && p.split_from_key_zero && splits > 1) {
        const std::int64_t each = tiles_of(tiles_of(s.keys, p.tile.n), splits);
        b.filled = (b.tiles.end - 1) / each - b.tiles.begin / each + 1;
      } else if (tiles > 0) {
        b.filled = tiles_of(tiles, tiles_of(tiles, splits));
      }
      f(i, s, b);
    }
  }
}

}  // namespace

Traffic totals_of(const FlashForward& p) {
  Traffic t;
  const AttentionProblem& a = p.problem;
  const std::int64_t heads = p.heads();
  for_each_block(p, [&](std::int64_t i, const AttentionSequence& s, const RowBlock& b) {
    const std::int64_t splits = p.splits_of(i),
                       tiles = std::max<std::int64_t>(0, b.tiles.end - b.tiles.begin);
    const std::int64_t keys =
        tiles > 0 ? std::min(s.keys - b.origin, b.tiles.end * p.tile.n) - b.tiles.begin * p.tile.n : 0;
    t.add_read(Tensor::q, bytes(heads * b.filled * b.rows * a.head_dim, a.element_bytes));
    t.add_read(Tensor::k, bytes(heads * keys * a.head_dim, a.kv_element_bytes));
    t.add_read(Tensor::v, bytes(heads * keys * a.v_head_dim, a.kv_element_bytes));
    if (splits > 1) {
      const std::int64_t written = p.zeroes_empty_partials ? splits : b.filled;
      t.add_written(Tensor::o_partial, heads * written * b.rows * a.v_head_dim * 4);
      t.add_written(Tensor::lse_partial, heads * splits * b.rows * 4);
    } else {
      t.add_written(Tensor::o, bytes(heads * b.rows * a.v_head_dim, a.element_bytes));
      t.add_written(Tensor::lse, heads * b.rows * 4);
    }
    t.mma_flops += 2 * heads * tiles * p.tile.m * p.tile.n * (a.head_dim + a.v_head_dim);
    t.exps += heads * tiles * p.tile.m * p.tile.n;
  });
  return t;
}

Traffic totals_of(const FlashCombine& p) {
  Traffic t;
  const FlashForward& f = p.forward;
  const std::int64_t heads = f.heads(), width = f.problem.v_head_dim;
  for_each_block(f, [&](std::int64_t i, const AttentionSequence&, const RowBlock& b) {
    const std::int64_t splits = f.splits_of(i);
    if (splits <= 1) return;
    const std::int64_t read = f.zeroes_empty_partials ? splits : b.filled;
    t.add_read(Tensor::lse_partial, heads * splits * b.rows * 4);
    t.add_read(Tensor::o_partial, heads * read * b.rows * width * 4);
    t.add_written(Tensor::o, bytes(heads * b.rows * width, f.problem.element_bytes));
    t.add_written(Tensor::lse, heads * b.rows * 4);
    t.exps += heads * read * b.rows;
  });
  return t;
}

Traffic totals_of(const KvWrite& p) {
  Traffic t;
  const AttentionProblem& a = p.problem;
  std::int64_t read = 0, kept = 0;
  for (const AttentionSequence& s : a.sequences) read += s.queries, kept += std::min(s.queries, s.keys);
  for (const auto& [fresh, cache, width] : {std::tuple{Tensor::k_new, Tensor::k, a.head_dim},
                                            std::tuple{Tensor::v_new, Tensor::v, a.v_head_dim}}) {
    t.add_read(fresh, bytes(read * a.kv_heads * width, a.element_bytes));
    t.add_written(cache, bytes(kept * a.kv_heads * width, a.kv_element_bytes));
  }
  return t;
}

Traffic totals_of(const RowCopy& p) {
  Traffic t;
  t.add_read(p.from, bytes(p.rows * p.cols, p.element_bytes));
  t.add_written(p.to, bytes(p.rows * p.cols, p.element_bytes));
  return t;
}

Traffic totals_of(const StandardKernel& p) {
  Traffic t;
  const AttentionProblem& a = p.problem;
  const double e = a.element_bytes;
  using Kind = StandardKernel::Kind;
  for (const AttentionSequence& s : a.sequences) {
    const std::int64_t blocks = tiles_of(s.queries, p.tile.m), square = a.q_heads * s.queries * s.keys;
    const std::int64_t padded = a.q_heads * blocks * p.tile.m * tiles_of(s.keys, p.tile.n) * p.tile.n;
    switch (p.kind) {
      case Kind::scores:
        if (s.keys > 0) t.add_read(Tensor::q, bytes(a.q_heads * s.queries * a.head_dim, e));
        t.add_read(Tensor::k, bytes(a.q_heads * blocks * s.keys * a.head_dim, a.kv_element_bytes));
        t.add_written(Tensor::scores, bytes(square, e));
        t.mma_flops += 2 * padded * a.head_dim;
        break;
      case Kind::mask:
        t.add_read(Tensor::scores, bytes(square, e));
        if (p.key_mask) t.add_read(Tensor::mask, a.q_heads * blocks * s.keys);
        t.add_written(Tensor::scores, bytes(square, e));
        break;
      case Kind::softmax:
        t.add_read(Tensor::scores, bytes((p.rows_fit ? 1 : 2) * square, e));
        t.add_written(Tensor::probabilities, bytes(square, e));
        t.exps += (p.rows_fit ? 1 : 2) * padded;
        break;
      case Kind::dropout:
        t.add_read(Tensor::probabilities, bytes(square, e));
        t.add_written(Tensor::dropped, bytes(square, e));
        t.add_written(Tensor::dropout, square);
        break;
      case Kind::output:
        t.add_read(p.dropped ? Tensor::dropped : Tensor::probabilities, bytes(square, e));
        t.add_read(Tensor::v, bytes(a.q_heads * blocks * s.keys * a.v_head_dim, a.kv_element_bytes));
        t.add_written(Tensor::o, bytes(a.q_heads * s.queries * a.v_head_dim, e));
        t.mma_flops += 2 * padded * a.v_head_dim;
        break;
    }
  }
  return t;
}

Traffic totals_of(const FlashAttention1& p) {
  Traffic t;
  const AttentionProblem& a = p.problem;
  for (const AttentionSequence& s : a.sequences) {
    const std::int64_t heads = a.q_heads, start = s.keys - s.queries;
    if (s.keys > 0 && s.queries > 0) {
      t.add_read(Tensor::k, bytes(heads * s.keys * a.head_dim, a.kv_element_bytes));
      t.add_read(Tensor::v, bytes(heads * s.keys * a.v_head_dim, a.kv_element_bytes));
      if (p.key_mask) t.add_read(Tensor::mask, heads * s.keys);
    }
    // Turns of one block of queries: one for every key block up to the last its last query sees.
    for (std::int64_t row = 0; row < s.queries; row += p.tile.m) {
      const std::int64_t rows = std::min<std::int64_t>(p.tile.m, s.queries - row);
      const std::int64_t seen = a.causal ? std::clamp<std::int64_t>(start + row + rows, 0, s.keys) : s.keys;
      const std::int64_t turns = s.keys > 0 ? std::max<std::int64_t>(1, tiles_of(seen, p.tile.n)) : 0;
      const std::int64_t again = std::max<std::int64_t>(0, turns - 1),
                         written = std::max<std::int64_t>(1, turns);
      t.add_read(Tensor::q, bytes(heads * turns * rows * a.head_dim, a.element_bytes));
      t.add_read(Tensor::o, bytes(heads * again * rows * a.v_head_dim, a.element_bytes));
      t.add_read(Tensor::lse, heads * again * rows * 8);
      t.add_written(Tensor::o, bytes(heads * written * rows * a.v_head_dim, a.element_bytes));
      t.add_written(Tensor::lse, heads * written * rows * 8);
      t.mma_flops += 2 * heads * turns * p.tile.m * p.tile.n * (a.head_dim + a.v_head_dim);
      t.exps += heads * turns * p.tile.m * p.tile.n;
    }
  }
  return t;
}

}  // namespace tessera
