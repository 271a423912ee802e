// The arithmetic of fused attention for the host executor: FlashForward's online softmax, the join of its
// splits, and FlashAttention-1's update of O, l and m in memory.
//
// `probabilities` is the format P is rounded to before it meets V, as tensor cores need it; sums stay fp32.
// Only FlashAttention-1 takes a key-padding mask and dropout here.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/host/run.hpp"
#include "kernels/tiles/attention_combine.hpp"
#include "kernels/tiles/attention_fa1.hpp"
#include "kernels/tiles/attention_flash.hpp"

namespace tessera::host {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Which probabilities dropout keeps: a hash of their place, so that every kernel can work it out again.
struct Dropout {
  double probability = 0;
  std::uint64_t seed = 0;

  [[nodiscard]] bool keeps(std::int64_t plane, std::int64_t row, std::int64_t key) const {
    if (probability <= 0) return true;
    std::uint64_t x =
        seed + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>((plane << 40) + (row << 20) + key + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53 >= probability;
  }
  [[nodiscard]] float scale() const { return static_cast<float>(1 / (1 - probability)); }
};

inline float dot(std::span<const float> a, std::span<const float> b) {
  TESSERA_CHECK(a.size() == b.size(), "vectors of one length");
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Running softmax of one row: O unnormalised, sum and maximum.
struct OnlineRow {
  std::vector<float> o;
  float sum = 0, most = kMinusInfinity;

  explicit OnlineRow(int width) : o(static_cast<std::size_t>(width), 0.0f) {}

  // Scores of the keys [first, first + scores.size()) of tile `v`; `weight(key)` scales what meets V.
  template <class Weight>
  void add(std::span<const float> scores, std::int64_t first, const LocalTile& v, Format probabilities,
           Weight&& weight) {
    float top = most;
    for (const float s : scores) top = std::max(top, s);
    if (top == kMinusInfinity) return;
    const float shrink = std::exp(most - top);  // 0 the first time
    sum *= shrink;
    for (float& x : o) x *= shrink;
    for (std::size_t j = 0; j < scores.size(); ++j) {
      const float p = std::exp(scores[j] - top);
      sum += p;
      const std::int64_t key = first + static_cast<std::int64_t>(j);
      const float q = rounded(p * weight(v.ref.row + key), probabilities);
      const std::span<const float> row = v.row(key);
      for (std::size_t c = 0; c < o.size(); ++c) o[c] += q * row[c];
    }
    most = top;
  }
  [[nodiscard]] float output(std::int64_t col) const {
    return sum > 0 ? o[static_cast<std::size_t>(col)] / sum : 0.0f;
  }
  [[nodiscard]] float lse() const { return sum > 0 ? most + std::log(sum) : kMinusInfinity; }
};

// Keys of tile [begin, begin + rows) that the query sees, as scores; returns the first of them in the tile.
inline std::int64_t visible_scores(const AttentionProblem& p, std::int64_t position, std::int64_t keys,
                                   std::span<const float> q, const LocalTile& k, float scale,
                                   std::vector<float>& scores) {
  const KeyRange seen = p.visible(position, keys);
  const std::int64_t from = std::max<std::int64_t>(seen.begin, k.ref.row);
  const std::int64_t to = std::min<std::int64_t>(seen.end, k.ref.row + k.ref.rows);
  scores.clear();
  for (std::int64_t key = from; key < to; ++key) scores.push_back(scale * dot(q, k.row(key - k.ref.row)));
  return from - k.ref.row;
}

inline float score_scale(const AttentionProblem& p) {
  return 1.0f / std::sqrt(static_cast<float>(p.head_dim));
}

class ForwardMath {
 public:
  using Cta = FlashForward::Cta;
  ForwardMath(const FlashForward& program, Format probabilities)
      : program_(program), format_(probabilities) {}

  static bool keeps(Tensor) { return false; }
  void begin(const Cta& c) {
    rows_.assign(static_cast<std::size_t>(c.rows), OnlineRow(program_.problem.v_head_dim));
  }
  void prologue(const Cta&, const Sram&) {}
  void step(const Cta& c, std::int64_t, const Sram& sram) {
    const AttentionProblem& p = program_.problem;
    const LocalTile &q = sram[Tensor::q], &k = sram[Tensor::k], &v = sram[Tensor::v];
    const std::int64_t start = c.keys - p.sequences[static_cast<std::size_t>(c.sequence)].queries;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const std::int64_t position = start + (c.first_row + r) / program_.group();
      const std::int64_t first = visible_scores(p, position, c.keys, q.row(r), k, score_scale(p), scores_);
      rows_[static_cast<std::size_t>(r)].add(scores_, first, v, format_, [](std::int64_t) { return 1.0f; });
    }
  }
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta& c, const TileRef& ref, std::int64_t row, std::int64_t col) const {
    const OnlineRow& r = rows_[static_cast<std::size_t>(row - c.first_row)];
    const bool output = ref.tensor == Tensor::o || ref.tensor == Tensor::o_partial;
    return output ? r.output(col) : r.lse();
  }

 private:
  const FlashForward& program_;
  Format format_;
  std::vector<OnlineRow> rows_;
  std::vector<float> scores_;
};

class CombineMath {
 public:
  using Cta = FlashCombine::Cta;
  explicit CombineMath(const FlashCombine& program) : program_(program) {}

  static bool keeps(Tensor) { return false; }
  void begin(const Cta&) { sums_.clear(); }
  void prologue(const Cta& c, const Sram& sram) {
    const std::int64_t planes = program_.forward.planes();
    program_.for_each_piece(c, [&](const FlashCombine::Piece& p) {
      for (std::int64_t r = p.row; r < p.row + p.rows; ++r) {
        Sum sum{p.plane, r, {}, std::vector<float>(static_cast<std::size_t>(width())), kMinusInfinity};
        float most = kMinusInfinity;
        for (std::int64_t s = 0; s < c.splits; ++s) {
          const LocalTile& tile = sram.find(Tensor::lse_partial, s * planes + p.plane, r);
          sum.lse_of.push_back(tile(r - tile.ref.row, 0));
          most = std::max(most, sum.lse_of.back());
        }
        if (most > kMinusInfinity) {
          float total = 0;
          for (const float lse : sum.lse_of) total += std::exp(lse - most);
          sum.lse = most + std::log(total);
        }
        sums_.push_back(std::move(sum));
      }
    });
  }
  void step(const Cta&, std::int64_t split, const Sram& sram) {
    const std::int64_t planes = program_.forward.planes();
    for (Sum& sum : sums_) {
      const float lse = sum.lse_of[static_cast<std::size_t>(split)];
      if (lse == kMinusInfinity) continue;
      const LocalTile& part = sram.find(Tensor::o_partial, split * planes + sum.plane, sum.row);
      const float weight = std::exp(lse - sum.lse);
      for (std::int64_t c = 0; c < width(); ++c)
        sum.o[static_cast<std::size_t>(c)] += weight * part(sum.row - part.ref.row, c);
    }
  }
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta&, const TileRef& ref, std::int64_t row, std::int64_t col) const {
    for (const Sum& sum : sums_)
      if (sum.plane == ref.plane && sum.row == row)
        return ref.tensor == Tensor::o ? sum.o[static_cast<std::size_t>(col)] : sum.lse;
    return kPoison;
  }

 private:
  struct Sum {
    std::int64_t plane, row;
    std::vector<float> lse_of;  // of each split
    std::vector<float> o;
    float lse;
  };
  [[nodiscard]] int width() const { return program_.forward.problem.v_head_dim; }
  const FlashCombine& program_;
  std::vector<Sum> sums_;
};

// Keeps O normalised in memory; l and m stand beside each other in Tensor::lse.
class FlashAttention1Math {
 public:
  using Cta = FlashAttention1::Cta;
  FlashAttention1Math(const FlashAttention1& program, Format probabilities, Dropout dropout = {})
      : program_(program), format_(probabilities), dropout_(dropout) {}

  static bool keeps(Tensor t) { return t == Tensor::k || t == Tensor::v || t == Tensor::mask; }
  void begin(const Cta&) { rows_.clear(); }
  void prologue(const Cta&, const Sram&) {}
  void step(const Cta& c, std::int64_t step, const Sram& sram) {
    const std::int64_t j = step / c.query_blocks, i = step % c.query_blocks;
    if (!program_.visits(c, i, j)) return;
    const AttentionProblem& p = program_.problem;
    const LocalTile &q = sram[Tensor::q], &k = sram[Tensor::k], &v = sram[Tensor::v];
    first_row_ = i * program_.tile.m;
    rows_.assign(static_cast<std::size_t>(q.ref.rows), OnlineRow(p.v_head_dim));
    for (std::int64_t r = 0; r < q.ref.rows; ++r) {
      OnlineRow& row = rows_[static_cast<std::size_t>(r)];
      if (j > 0) {
        const LocalTile &o = sram[Tensor::o], &statistics = sram[Tensor::lse];
        row.sum = statistics(r, 0), row.most = statistics(r, 1);
        for (std::int64_t d = 0; d < p.v_head_dim; ++d)
          row.o[static_cast<std::size_t>(d)] = o(r, d) * row.sum;
      }
      const std::int64_t position = c.keys - c.queries + first_row_ + r;
      const std::int64_t first = visible_scores(p, position, c.keys, q.row(r), k, score_scale(p), scores_);
      if (program_.key_mask)
        for (std::size_t n = 0; n < scores_.size(); ++n)
          if (sram[Tensor::mask](0, first + static_cast<std::int64_t>(n)) == 0) scores_[n] = kMinusInfinity;
      row.add(scores_, first, v, format_, [&](std::int64_t key) {
        return dropout_.keeps(c.plane, first_row_ + r, key) ? dropout_.scale() : 0.0f;
      });
    }
  }
  void epilogue(const Cta&, const Sram&) { rows_.clear(); }
  [[nodiscard]] float value(const Cta&, const TileRef& ref, std::int64_t row, std::int64_t col) const {
    if (rows_.empty()) return ref.tensor == Tensor::o || col == 0 ? 0.0f : kMinusInfinity;
    const OnlineRow& r = rows_[static_cast<std::size_t>(row - first_row_)];
    if (ref.tensor == Tensor::o) return r.output(col);
    return col == 0 ? r.sum : r.most;
  }

 private:
  const FlashAttention1& program_;
  Format format_;
  Dropout dropout_;
  std::int64_t first_row_ = 0;
  std::vector<OnlineRow> rows_;
  std::vector<float> scores_;
};

}  // namespace tessera::host
