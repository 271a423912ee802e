// Kernels that only move rows: the KV write and the copies around a packed decode.
//
// KvWrite (vLLM's reshape_and_cache_flash): one CTA a new token, min(K d, 512) threads; it reads the token's
// key and value row and writes each head's slice where the block table says.
// RowCopy (torch's elementwise copy): 128 threads, 4 elements each, so 512 elements a CTA; source and
// destination may cut the same flat rows into planes of different heights, as FA2 does when it packs the G
// query heads of a KV head: row f of Q is row f mod G of plane f / G.
// Source: vllm csrc/cache_kernels.cu; torch ATen/native/cuda/Loops. Left out: the slot list (8 bytes a
// token).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/tiles/attention_problem.hpp"
#include "kernels/tiles/attention_tiles.hpp"
#include "kernels/tiles/program.hpp"

namespace tessera {

template <template <class> class List>
struct BasicKvWrite {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t token = 0;  // of the launch
    std::int64_t sequence = 0;
    std::int64_t position = 0;  // in its sequence
  };

  BasicKvWrite() = default;
  explicit BasicKvWrite(BasicAttentionProblem<List> p) : problem(std::move(p)) {
    first_.reserve(problem.sequences.size() + 1);
    first_.push_back(0);
    for (const AttentionSequence& s : problem.sequences) first_.push_back(first_.back() + s.queries);
  }

  BasicAttentionProblem<List> problem;

  [[nodiscard]] constexpr std::int64_t ctas() const { return first_.back(); }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const {
    return {std::min(problem.kv_heads * problem.head_dim, 512), 32, 0, 1};
  }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const {
    const auto after = std::upper_bound(first_.begin(), first_.end(), number);
    const std::int64_t sequence = after - first_.begin() - 1;
    const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(sequence)];
    return {0, number, sequence, s.keys - s.queries + number - first_[static_cast<std::size_t>(sequence)]};
  }

  // See AttentionProblem::placed.
  template <class Place>
  [[nodiscard]] BasicKvWrite<Viewed> placed(Place&& place) const {
    BasicKvWrite<Viewed> to;
    to.problem = problem.placed(place), to.first_ = place(first_);
    return to;
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    v.load(row(Tensor::k_new, 0, c.token, problem.kv_heads * problem.head_dim, problem.element_bytes));
    v.load(row(Tensor::v_new, 0, c.token, problem.kv_heads * problem.v_head_dim, problem.element_bytes));
  }
  template <class V>
  void step(const Cta&, std::int64_t, V&) const {}
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    if (c.position < 0) return;  // more queries than keys: nothing to keep
    for (int h = 0; h < problem.kv_heads; ++h) {
      const std::int64_t plane = c.sequence * problem.kv_heads + h;
      v.store(row(Tensor::k, plane, c.position, problem.head_dim, problem.kv_element_bytes));
      v.store(row(Tensor::v, plane, c.position, problem.v_head_dim, problem.kv_element_bytes));
    }
  }

 private:
  static TileRef row(Tensor tensor, std::int64_t plane, std::int64_t at, int cols, double bytes) {
    return {.tensor = tensor,
            .rows = 1,
            .cols = cols,
            .plane = plane,
            .row = at,
            .col = 0,
            .element_bytes = bytes};
  }
  List<std::int64_t> first_;  // tokens before each sequence, last: of all

  template <template <class> class>
  friend struct BasicKvWrite;
};

using KvWrite = BasicKvWrite<Owned>;

struct RowCopy {
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
  };

  Tensor from = Tensor::input, to = Tensor::output;
  std::int64_t rows = 0;  // flat
  int cols = 1;
  std::int64_t from_height = 1, to_height = 1;  // rows of a plane
  double element_bytes = 2;

  [[nodiscard]] constexpr std::int64_t rows_per_cta() const { return std::max<std::int64_t>(1, 512 / cols); }
  [[nodiscard]] constexpr std::int64_t ctas() const { return tiles_of(rows, rows_per_cta()); }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const { return {128, 32, 0, 1}; }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const {
    const std::int64_t first = number * rows_per_cta();
    return {0, first, std::min(rows_per_cta(), rows - first)};
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    pieces(c, from, from_height, [&](const TileRef& ref) { v.load(ref); });
  }
  template <class V>
  void step(const Cta&, std::int64_t, V&) const {}
  template <class V>
  void epilogue(const Cta& c, V& v) const {
    pieces(c, to, to_height, [&](const TileRef& ref) { v.store(ref); });
  }

 private:
  template <class F>
  void pieces(const Cta& c, Tensor tensor, std::int64_t height, F&& f) const {
    for (std::int64_t at = c.first_row, end = c.first_row + c.rows; at < end;) {
      const std::int64_t count = std::min(height - at % height, end - at);
      f(TileRef{.tensor = tensor,
                .rows = static_cast<std::int32_t>(count),
                .cols = cols,
                .plane = at / height,
                .row = at % height,
                .col = 0,
                .element_bytes = element_bytes});
      at += count;
    }
  }
};

static_assert(TileProgram<KvWrite> && TileProgram<RowCopy>);

}  // namespace tessera
