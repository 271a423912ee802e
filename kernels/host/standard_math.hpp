// The arithmetic of the five kernels of unfused attention for the host executor. Every intermediate is what
// memory holds of it: rounded to the format of its tensor. A row whose keys are all masked gets
// probabilities 0, where libraries differ (PyTorch: NaN).
#pragma once

#include "kernels/host/attention_math.hpp"
#include "kernels/tiles/attention_standard.hpp"

namespace tessera::host {

class StandardMath {
 public:
  using Cta = StandardKernel::Cta;
  StandardMath(const StandardKernel& program, Dropout dropout) : program_(program), dropout_(dropout) {}

  [[nodiscard]] bool keeps(Tensor t) const { return t == Tensor::scores && program_.rows_fit; }
  void begin(const Cta& c) {
    const int width = program_.kind == Kind::output ? program_.problem.v_head_dim : program_.tile.n;
    result_.assign(static_cast<std::size_t>(c.rows) * width, 0.0f);
    width_ = width;
    most_.assign(static_cast<std::size_t>(c.rows), kMinusInfinity);
    sum_.assign(static_cast<std::size_t>(c.rows), 0.0f);
  }
  void prologue(const Cta&, const Sram&) {}

  void step(const Cta& c, std::int64_t step, const Sram& sram) {
    switch (program_.kind) {
      case Kind::scores:
        return scores(c, sram);
      case Kind::mask:
        return mask(c, sram);
      case Kind::softmax:
        return softmax(c, step, sram);
      case Kind::dropout:
        return drop(c, sram[Tensor::probabilities]);
      case Kind::output:
        return output(c, sram);
    }
  }
  // Whole rows are on the SM: every probability follows from its score and the row's statistics.
  void epilogue(const Cta& c, const Sram& sram) {
    if (program_.kind != Kind::softmax || !program_.rows_fit) return;
    width_ = static_cast<int>(c.keys);
    result_.assign(static_cast<std::size_t>(c.rows * c.keys), 0.0f);
    for (std::int64_t key = 0; key < c.keys; key += program_.tile.n)
      normalise(c, sram.find(Tensor::scores, c.plane, c.first_row, key), 0);
  }
  [[nodiscard]] float value(const Cta& c, const TileRef& ref, std::int64_t row, std::int64_t col) const {
    const bool whole = program_.kind == Kind::output || (program_.kind == Kind::softmax && program_.rows_fit);
    const float result = at(row - c.first_row, whole ? col : col - ref.col);
    if (ref.tensor == Tensor::dropout) return dropout_.keeps(c.plane, row, col) ? 1.0f : 0.0f;
    return result;
  }

 private:
  using Kind = StandardKernel::Kind;

  float& at(std::int64_t row, std::int64_t col) {
    return result_[static_cast<std::size_t>(row * width_ + col)];
  }
  [[nodiscard]] float at(std::int64_t row, std::int64_t col) const {
    return result_[static_cast<std::size_t>(row * width_ + col)];
  }

  void scores(const Cta& c, const Sram& sram) {
    const LocalTile &q = sram[Tensor::q], &k = sram[Tensor::k];
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t n = 0; n < k.ref.rows; ++n)
        at(r, n) = score_scale(program_.problem) * dot(q.row(r), k.row(n));
  }
  void mask(const Cta& c, const Sram& sram) {
    const AttentionProblem& p = program_.problem;
    const LocalTile& s = sram[Tensor::scores];
    const std::int64_t start = c.keys - p.sequences[static_cast<std::size_t>(c.sequence)].queries;
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const KeyRange seen = p.visible(start + c.first_row + r, c.keys);
      for (std::int64_t n = 0; n < s.ref.cols; ++n) {
        const std::int64_t key = s.ref.col + n;
        const bool hidden =
            key < seen.begin || key >= seen.end || (program_.key_mask && sram[Tensor::mask](0, n) == 0);
        at(r, n) = hidden ? kMinusInfinity : s(r, n);
      }
    }
  }
  void softmax(const Cta& c, std::int64_t step, const Sram& sram) {
    const LocalTile& s = sram[Tensor::scores];
    if (step >= tiles_of(c.keys, program_.tile.n)) return normalise(c, s, s.ref.col);
    for (std::int64_t r = 0; r < c.rows; ++r) {
      float& most = most_[static_cast<std::size_t>(r)];
      float& sum = sum_[static_cast<std::size_t>(r)];
      const float before = most;
      for (const float x : s.row(r)) most = std::max(most, x);
      if (most == kMinusInfinity) continue;
      sum *= std::exp(before - most);
      for (const float x : s.row(r)) sum += std::exp(x - most);
    }
  }
  // Probabilities of a tile; its column 0 is column `origin` less in the result.
  void normalise(const Cta& c, const LocalTile& s, std::int64_t origin) {
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const float most = most_[static_cast<std::size_t>(r)], sum = sum_[static_cast<std::size_t>(r)];
      for (std::int64_t n = 0; n < s.ref.cols; ++n)
        at(r, s.ref.col + n - origin) = sum > 0 ? std::exp(s(r, n) - most) / sum : 0.0f;
    }
  }
  void drop(const Cta& c, const LocalTile& p) {
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t n = 0; n < p.ref.cols; ++n)
        at(r, n) =
            dropout_.keeps(c.plane, c.first_row + r, p.ref.col + n) ? p(r, n) * dropout_.scale() : 0.0f;
  }
  void output(const Cta& c, const Sram& sram) {
    const LocalTile& p = sram[program_.dropped ? Tensor::dropped : Tensor::probabilities];
    const LocalTile& v = sram[Tensor::v];
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t n = 0; n < v.ref.rows; ++n) {
        const float weight = p(r, n);
        const std::span<const float> row = v.row(n);
        for (std::int64_t d = 0; d < width_; ++d) at(r, d) += weight * row[static_cast<std::size_t>(d)];
      }
  }

  const StandardKernel& program_;
  Dropout dropout_;
  std::vector<float> result_;
  int width_ = 0;
  std::vector<float> most_, sum_;  // of each row
};

}  // namespace tessera::host
