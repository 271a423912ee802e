#include "kernels/tiles/attention_fa1.hpp"

#include <string>

#include "models/base/error.hpp"

namespace tessera {

FlashAttention1::FlashAttention1(const AttentionProblem& p, std::int64_t smem_bytes, bool masked)
    : problem(p), key_mask(masked) {
  if (p.window > 0) throw InputError("FlashAttention-1 has no window: expected no window, or fa2 or fa3");
  if (p.page_tokens > 0)
    throw InputError("FlashAttention-1 has no paged cache: expected contiguous keys, or fa2");
  const int d = std::max(p.head_dim, p.v_head_dim);
  const auto keys = static_cast<std::int64_t>(static_cast<double>(smem_bytes) / (4.0 * d * p.element_bytes));
  if (keys < 16)
    throw InputError(std::to_string(smem_bytes) + " bytes of shared memory hold blocks of " +
                     std::to_string(keys) + " keys of head dimension " + std::to_string(d) +
                     ": FlashAttention-1 needs at least 16");
  tile.n = static_cast<int>(keys / 16 * 16);
  tile.m = std::min(tile.n, static_cast<int>(tiles_of(d, 16) * 16));
}

Traffic FlashAttention1::backward_traffic() const {
  Traffic t;
  const auto bytes = [](std::int64_t elements, double each) {
    return static_cast<std::int64_t>(static_cast<double>(elements) * each);
  };
  const double e = problem.element_bytes;
  for (std::int64_t number = 0; number < ctas(); ++number) {
    const Cta c = cta(number);
    const std::int64_t key_blocks = tiles_of(c.keys, tile.n);
    // Queries of every outer turn together.
    std::int64_t rows = 0, pairs = 0;
    for (std::int64_t j = 0; j < key_blocks; ++j) {
      // Under the causal mask the blocks that see key block j are the last ones.
      std::int64_t low = 0, high = c.query_blocks;
      while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        if (visits(c, middle, j))
          high = middle;
        else
          low = middle + 1;
      }
      rows += c.queries - std::min(c.queries, low * tile.m);
      pairs += (c.query_blocks - low) * tile.m * tile.n;
    }
    const std::int64_t q = problem.head_dim, o = problem.v_head_dim;
    t.add_read(Tensor::k, bytes(c.keys * q, problem.kv_element_bytes));
    t.add_read(Tensor::v, bytes(c.keys * o, problem.kv_element_bytes));
    if (key_mask) t.add_read(Tensor::mask, c.keys);
    t.add_read(Tensor::q, bytes(rows * q, e));
    t.add_read(Tensor::o_gradient, bytes((rows + c.queries) * o, e));
    t.add_read(Tensor::o, bytes(c.queries * o, e));
    const std::int64_t again = std::max<std::int64_t>(0, rows - c.queries);  // the first turn starts from 0
    t.add_read(Tensor::q_gradient, bytes(again * q, e));
    t.add_written(Tensor::q_gradient, bytes(std::max(rows, c.queries) * q, e));
    t.add_read(Tensor::lse, rows * 2 * 4);
    t.add_read(Tensor::row_dot, rows * 4);
    t.add_written(Tensor::row_dot, c.queries * 4);
    t.add_written(Tensor::k_gradient, bytes(c.keys * q, e));
    t.add_written(Tensor::v_gradient, bytes(c.keys * o, e));
    t.mma_flops += 2 * pairs * (3 * q + 2 * o);  // S, dQ, dK over d; dP, dV over dv
    t.exps += pairs;
  }
  return t;
}

std::int64_t FlashAttention1::peak_extra_bytes(bool backward) const {
  std::int64_t rows = 0;
  for (const AttentionSequence& s : problem.sequences) rows += s.queries * problem.q_heads;
  return rows * (backward ? 12 : 8);
}

}  // namespace tessera
