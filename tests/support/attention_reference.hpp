// Attention the slow and obvious way, in double precision, and random problems to try kernels on.
#pragma once

#include <rapidcheck.h>

#include <Eigen/Dense>
#include <cmath>
#include <vector>

#include "kernels/host/attention.hpp"

namespace tessera::test {

// softmax(Q K^T / sqrt(d) + mask) V of every sequence and head, [token, head, d]; rows without keys are 0.
inline std::vector<double> reference_attention(const host::AttentionInputs& in) {
  const AttentionProblem& p = in.problem;
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(in.first_query.back() * p.q_heads * p.v_head_dim));
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  for (std::size_t s = 0; s < p.sequences.size(); ++s) {
    const auto [queries, keys] = p.sequences[s];
    std::vector<Eigen::MatrixXd> of_head;
    for (int h = 0; h < p.q_heads; ++h) {
      const int kv = h / (p.q_heads / p.kv_heads);
      const auto plane = [keys = keys](const float* first, int heads, int width) -> Eigen::MatrixXd {
        if (keys == 0) return Eigen::MatrixXd(0, width);
        return Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>(first, keys, width,
                                                                 Eigen::OuterStride<>(heads * width))
            .cast<double>();
      };
      const auto sequence = static_cast<std::int64_t>(s);
      const Eigen::MatrixXd k = plane(in.key(sequence, 0, kv), p.kv_heads, p.head_dim);
      const Eigen::MatrixXd v = plane(in.value(sequence, 0, kv), p.kv_heads, p.v_head_dim);
      Eigen::MatrixXd o = Eigen::MatrixXd::Zero(queries, p.v_head_dim);
      for (std::int64_t i = 0; i < queries; ++i) {
        const Eigen::VectorXd q =
            Eigen::Map<const Eigen::VectorXf>(in.query(sequence, i, h), p.head_dim).cast<double>();
        const Eigen::VectorXd scores = k * q / std::sqrt(static_cast<double>(p.head_dim));
        const std::int64_t position = keys - queries + i;
        Eigen::VectorXd weight = Eigen::VectorXd::Zero(keys);
        double most = -1e300, sum = 0;
        const auto sees = [&, keys = keys](std::int64_t j) {
          return j < keys && (!p.causal || j <= position) && (p.window == 0 || j > position - p.window) &&
                 !in.hidden(sequence, j);
        };
        for (std::int64_t j = 0; j < keys; ++j)
          if (sees(j)) most = std::max(most, scores[j]);
        for (std::int64_t j = 0; j < keys; ++j)
          if (sees(j)) sum += weight[j] = std::exp(scores[j] - most);
        if (sum == 0) continue;
        const std::int64_t plane_index = sequence * p.q_heads + h;
        for (std::int64_t j = 0; j < keys; ++j)
          weight[j] *= in.dropout.keeps(plane_index, i, j) ? 1 / (1 - in.dropout.probability) / sum : 0;
        o.row(i) = v.transpose() * weight;
      }
      of_head.push_back(o);
    }
    for (std::int64_t i = 0; i < queries; ++i)
      for (const Eigen::MatrixXd& o : of_head)
        for (int c = 0; c < p.v_head_dim; ++c) out.push_back(o(i, c));
  }
  return out;
}

// |a - b| / |b| in the Euclidean norm; NaN and infinity count as infinite. 0 where both are 0.
inline double relative_error(const std::vector<float>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    difference += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
  }
  if (norm == 0) return difference == 0 ? 0 : INFINITY;
  return std::sqrt(difference / norm);
}

// Small, odd and ragged: lengths around the tiles' edges, 1 to 16 query heads a KV head, empty sequences,
// more queries than keys.
struct ProblemKind {
  bool window = true, paged = true, decode_only = false;
};
inline AttentionProblem random_problem(ProblemKind kind = {}) {
  AttentionProblem p;
  p.kv_heads = *rc::gen::element(1, 2, 2, 3);
  const int group = *rc::gen::element(1, 1, 2, 3, 4, 7, 8, 16);
  if (group > 4) p.kv_heads = 1;
  p.q_heads = p.kv_heads * group;
  p.head_dim = *rc::gen::element(8, 15, 16, 33);
  p.v_head_dim = *rc::gen::weightedElement<int>({{3, p.head_dim}, {1, 24}});
  p.causal = *rc::gen::weightedElement<bool>({{3, true}, {1, false}});
  p.kv_element_bytes = *rc::gen::weightedElement<double>({{4, 2.0}, {1, 1.0}});
  if (kind.window) p.window = *rc::gen::element<std::int64_t>(0, 0, 1, 17, 64, 500);
  if (kind.paged) p.page_tokens = *rc::gen::element(0, 1, 16, 24);
  const int sequences = *rc::gen::inRange(1, 4);
  const bool decode = kind.decode_only || *rc::gen::element(true, false);
  for (int s = 0; s < sequences; ++s) {
    const auto length = [](int most) { return static_cast<std::int64_t>(*rc::gen::inRange(1, most)); };
    std::int64_t queries = decode ? 1 : length(group > 4 ? 20 : 70);
    const bool many =
        kind.decode_only ||
        (decode && *rc::gen::weightedElement<bool>({{5, false}, {1, true}}));  // enough to split
    const std::int64_t most_cached = many ? 1000 : 200;
    std::int64_t keys = queries + *rc::gen::oneOf(rc::gen::just<std::int64_t>(0),
                                                  rc::gen::inRange<std::int64_t>(1, most_cached));
    if (*rc::gen::weightedElement<bool>({{12, false}, {1, true}})) keys = 0;  // nothing cached, nothing new
    if (!decode && *rc::gen::weightedElement<bool>({{15, false}, {1, true}})) queries = 0;
    if (keys > 0 && !decode && *rc::gen::weightedElement<bool>({{8, false}, {1, true}}))
      keys = std::max<std::int64_t>(1, queries / 2);  // the first queries see no key
    p.sequences.push_back({queries, keys});
  }
  return p;
}

}  // namespace tessera::test
