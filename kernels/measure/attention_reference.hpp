// Rows of softmax(Q K^T / sqrt(d)) V in double precision, from any source of numbers.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "kernels/tiles/attention_problem.hpp"

namespace tessera::measure {

struct AttentionRow {
  std::int64_t sequence, query, head;
};

// Rows drawn without favour, the last query of the last sequence always among them.
inline std::vector<AttentionRow> draw_rows(const AttentionProblem& p, std::int64_t count,
                                           std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  std::vector<AttentionRow> rows;
  const auto sequences = static_cast<std::int64_t>(p.sequences.size());
  for (std::int64_t tries = 0; tries < 4 * count && std::ssize(rows) < count; ++tries) {
    const std::int64_t s = rows.empty() ? sequences - 1 : below(sequences);
    const std::int64_t queries = p.sequences[static_cast<std::size_t>(s)].queries;
    if (queries > 0) rows.push_back({s, rows.empty() ? queries - 1 : below(queries), below(p.q_heads)});
  }
  return rows;
}

// query(i), key(j, i) and value(j, i): element i of the row's query and of key j of its KV head.
template <class Query, class Key, class Value>
std::vector<double> attention_row(const AttentionProblem& p, const AttentionRow& row, Query&& query,
                                  Key&& key, Value&& value) {
  const AttentionSequence& s = p.sequences[static_cast<std::size_t>(row.sequence)];
  const KeyRange seen = p.visible(s.keys - s.queries + row.query, s.keys);
  std::vector<double> q, scores, out(static_cast<std::size_t>(p.v_head_dim), 0.0);
  for (int i = 0; i < p.head_dim; ++i) q.push_back(query(i) / std::sqrt(static_cast<double>(p.head_dim)));
  double most = -INFINITY, sum = 0;
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    double score = 0;
    for (int i = 0; i < p.head_dim; ++i) score += q[static_cast<std::size_t>(i)] * key(j, i);
    scores.push_back(score);
    most = std::max(most, score);
  }
  for (double& score : scores) sum += score = std::exp(score - most);
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    const double weight = scores[static_cast<std::size_t>(j - seen.begin)] / sum;
    for (int i = 0; i < p.v_head_dim; ++i) out[static_cast<std::size_t>(i)] += weight * value(j, i);
  }
  return out;
}

}  // namespace tessera::measure
