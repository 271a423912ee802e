#include "kernels/tiles/attention_standard.hpp"

#include "models/base/error.hpp"

namespace tessera {
namespace {

constexpr int kKeyTile = 32;
constexpr int kAccumulators = 32768;  // fp32, half a register file

// Multiples of 64 rows between 64 and `most`, halved while an SM would go without a CTA.
int fill_the_card(std::int64_t most, std::int64_t queries, std::int64_t planes, std::int64_t sms) {
  std::int64_t rows = std::max<std::int64_t>(64, std::min(most / 64, tiles_of(queries, 64)) * 64);
  while (rows > 64 && planes * tiles_of(queries, rows) < sms) rows = tiles_of(rows / 2, 64) * 64;
  return static_cast<int>(rows);
}

}  // namespace

StandardAttention::StandardAttention(const AttentionProblem& problem, const StandardOptions& chosen)
    : options(chosen) {
  std::int64_t queries = 0, keys = 0;
  for (const AttentionSequence& s : problem.sequences)
    queries = std::max(queries, s.queries), keys = std::max(keys, s.keys);
  const auto planes = static_cast<std::int64_t>(problem.sequences.size()) * problem.q_heads;
  const auto bytes = [&](std::int64_t elements) {
    return static_cast<std::int64_t>(static_cast<double>(elements) * problem.element_bytes);
  };
  using Kind = StandardKernel::Kind;
  const auto add = [&](Kind kind, int rows, int threads, std::int64_t smem, bool rows_fit = true) {
    if (smem > options.smem_per_cta)
      throw InputError("head dimension " + std::to_string(problem.head_dim) +
                       ": a tile of unfused attention needs " + std::to_string(smem) +
                       " bytes of shared memory, a CTA has at most " + std::to_string(options.smem_per_cta));
    kernels.push_back({.problem = problem,
                       .kind = kind,
                       .tile = {rows, kKeyTile},
                       .key_mask = options.key_mask,
                       .dropped = options.dropout,
                       .rows_fit = rows_fit,
                       .cta_resources = {threads, 128, smem, 2},
                       .row_blocks = tiles_of(queries, rows)});
  };

  const std::int64_t streamed = bytes(2 * std::int64_t{kKeyTile} * problem.head_dim);  // two stages of K
  const std::int64_t by_smem = (options.smem_per_cta - streamed) / bytes(problem.head_dim);
  const int score_rows =
      fill_the_card(std::min<std::int64_t>(by_smem, kAccumulators / kKeyTile), queries, planes, options.sms);
  add(Kind::scores, score_rows, 512, streamed + bytes(std::int64_t{score_rows} * problem.head_dim));
  if (problem.causal || problem.window > 0 || options.key_mask) add(Kind::mask, 64, 256, 0);
  const std::int64_t row_bytes = 4 * keys;
  const bool rows_fit = row_bytes <= options.smem_per_cta;
  const auto softmax_rows =
      static_cast<int>(std::clamp<std::int64_t>(16384 / std::max<std::int64_t>(1, row_bytes), 1, 64));
  add(Kind::softmax, softmax_rows, 256, rows_fit ? softmax_rows * row_bytes : 0, rows_fit);
  if (options.dropout) add(Kind::dropout, 64, 256, 0);
  const int output_rows = fill_the_card(kAccumulators / problem.v_head_dim, queries, planes, options.sms);
  add(Kind::output, output_rows, 512, 2 * bytes(std::int64_t{kKeyTile} * (output_rows + problem.v_head_dim)));
}

Traffic StandardAttention::backward_traffic() const {
  const AttentionProblem& p = kernels.front().problem;
  const std::int64_t score_rows = kernels.front().tile.m, output_rows = kernels.back().tile.m;
  Traffic t;
  const auto bytes = [](std::int64_t elements, double each) {
    return static_cast<std::int64_t>(static_cast<double>(elements) * each);
  };
  for (const AttentionSequence& s : p.sequences) {
    const std::int64_t heads = p.q_heads;
    const double e = p.element_bytes, kv = p.kv_element_bytes;
    const std::int64_t square = heads * s.queries * s.keys;
    const std::int64_t q = heads * s.queries * p.head_dim, o = heads * s.queries * p.v_head_dim;
    const std::int64_t k = heads * s.keys * p.head_dim, v = heads * s.keys * p.v_head_dim;
    // dV and dK: a CTA owns rows of K; it reads the queries of every head of its group.
    const std::int64_t key_passes = tiles_of(s.keys, output_rows),
                       query_passes = tiles_of(s.queries, output_rows);
    t.add_read(options.dropout ? Tensor::dropped : Tensor::probabilities, bytes(square, e));
    t.add_read(Tensor::o_gradient, bytes(o * key_passes, e));
    t.add_written(Tensor::v_gradient, bytes(v / p.group(), e));
    // dP'
    t.add_read(Tensor::o_gradient, bytes(o, e));
    t.add_read(Tensor::v, bytes(v * tiles_of(s.queries, score_rows), kv));
    t.add_written(Tensor::scores_gradient, bytes(square, e));
    if (options.dropout) {
      t.add_read(Tensor::scores_gradient, bytes(square, e));
      t.add_read(Tensor::dropout, square);
      t.add_written(Tensor::scores_gradient, bytes(square, e));
    }
    // dS = P * (dP - rowsum(dP * P))
    t.add_read(Tensor::probabilities, bytes(square, e));
    t.add_read(Tensor::scores_gradient, bytes(square, e));
    t.add_written(Tensor::scores_gradient, bytes(square, e));
    // dQ, dK
    t.add_read(Tensor::scores_gradient, bytes(2 * square, e));
    t.add_read(Tensor::k, bytes(k * query_passes, kv));
    t.add_written(Tensor::q_gradient, bytes(q, e));
    t.add_read(Tensor::q, bytes(q * key_passes, e));
    t.add_written(Tensor::k_gradient, bytes(k / p.group(), e));
    t.mma_flops += 4 * square * (p.head_dim + p.v_head_dim);
  }
  return t;
}

std::int64_t StandardAttention::peak_extra_bytes(bool backward) const {
  const AttentionProblem& p = kernels.front().problem;
  std::int64_t square = 0;
  for (const AttentionSequence& s : p.sequences) square += p.q_heads * s.queries * s.keys;
  const double e = p.element_bytes;
  // Forward: S and P during the softmax; then, with dropout, P, P' and the mask bytes.
  double each = options.dropout ? 2 * e + 1 : 2 * e;
  // Training keeps P, P' and the mask; dP' comes to them; then dP replaces P' and dS dP'.
  if (backward) each = options.dropout ? 3 * e + 1 : 2 * e;
  return static_cast<std::int64_t>(static_cast<double>(square) * each);
}

}  // namespace tessera
