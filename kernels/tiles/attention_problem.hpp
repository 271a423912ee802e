// What one attention launch is asked for, and which keys its queries see.
//
// Query i of a sequence of `queries` new tokens and `keys` keys (cached and new) stands at position
// p = keys - queries + i. It sees the keys below min(keys, p + 1) if causal, below `keys` if not, and with a
// window W none below p - W + 1. A query that sees no key has the output 0.
// Source: the masks of FlashAttention (aligned to the last key), csrc/flash_attn/src/mask.h. Left out: soft
// caps, ALiBi, windows that look ahead.
//
// Lists are `Owned` where a problem is made and `Viewed` where a CUDA kernel (kernels/cuda) or its host
// emulation walks it: the same program over memory that lies elsewhere. Functions a kernel calls are
// constexpr, which nvcc compiles for the device too (--expt-relaxed-constexpr).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

template <class T>
using Owned = std::vector<T>;
template <class T>
using Viewed = std::span<const T>;

struct AttentionSequence {
  std::int64_t queries = 1;
  std::int64_t keys = 1;
};

struct KeyRange {
  std::int64_t begin = 0, end = 0;  // empty if end <= begin
};

template <template <class> class List>
struct BasicAttentionProblem {
  int q_heads = 1;
  int kv_heads = 1;
  int head_dim = 128;  // of Q and K
  int v_head_dim = 128;
  bool causal = true;
  std::int64_t window = 0;   // 0: none
  double element_bytes = 2;  // of Q and O
  double kv_element_bytes = 2;
  int page_tokens = 0;  // KV page size; 0: contiguous keys
  List<AttentionSequence> sequences;

  [[nodiscard]] constexpr int group() const { return q_heads / kv_heads; }

  // Keys that the query at `position` of a sequence of `keys` keys sees.
  [[nodiscard]] constexpr KeyRange visible(std::int64_t position, std::int64_t keys) const {
    const std::int64_t end = causal ? std::clamp<std::int64_t>(position + 1, 0, keys) : keys;
    return {window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0, end};
  }

  // (query, key) pairs one head of the sequence computes: the useful work.
  [[nodiscard]] std::int64_t visible_pairs(const AttentionSequence& s) const {
    const std::int64_t first = s.keys - s.queries, last = s.keys - 1;  // positions
    // sum over p <= x of max(0, p)
    const auto up_to = [](std::int64_t x) { return x > 0 ? x * (x + 1) / 2 : 0; };
    const std::int64_t ends = causal ? up_to(last + 1) - up_to(first) : s.keys * s.queries;
    return window > 0 ? ends - (up_to(last - window + 1) - up_to(first - window)) : ends;
  }
  [[nodiscard]] double useful_flops() const {
    double pairs = 0;
    for (const AttentionSequence& s : sequences) pairs += static_cast<double>(visible_pairs(s));
    return 2.0 * pairs * q_heads * (head_dim + v_head_dim);
  }

  // The same with its lists where `place(list)` says they lie.
  template <class Place>
  [[nodiscard]] BasicAttentionProblem<Viewed> placed(Place&& place) const {
    return {q_heads, kv_heads,      head_dim,         v_head_dim,  causal,
            window,  element_bytes, kv_element_bytes, page_tokens, place(sequences)};
  }
};

using AttentionProblem = BasicAttentionProblem<Owned>;

}  // namespace tessera
