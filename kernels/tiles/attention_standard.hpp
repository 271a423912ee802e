// Attention without fusion: every step of softmax(mask(Q K^T)) V is a kernel whose N x N result goes
// through memory.
//
//   scores   S = Q K^T             Br rows of Q stay on the SM, K streams by
//   mask     S = S or -inf         causal, window or a key-padding mask (one byte a key)
//   softmax  P = softmax(S)        whole rows on the SM; a row that does not fit is read twice
//   dropout  P' = P * kept / (1-p) writes one byte of mask an element
//   output   O = P' V              Br rows of O stay in registers, P' and V stream by
// Forward, 16-bit: 8.5 passes over N^2 with mask and dropout; backward (counted, not run) 9.5.
// Br is the largest that shared memory and registers hold while each SM gets a CTA, so that Q, K and V are
// read nearly once, as the paper's Algorithm 0 assumes.
// Source: FlashAttention (Dao et al. 2022), Algorithm 0 and section 2.2. Left out: libraries that fuse the
// mask or dropout into the softmax.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/tiles/attention_problem.hpp"
#include "kernels/tiles/attention_tiles.hpp"
#include "kernels/tiles/program.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {

enum class StandardStep : std::uint8_t { scores, mask, softmax, dropout, output };

template <template <class> class List>
struct BasicStandardKernel {
  using Kind = StandardStep;
  struct Cta {
    std::int64_t steps = 0;
    std::int64_t plane = 0, kv_plane = 0, sequence = 0;
    std::int64_t first_row = 0;
    std::int32_t rows = 0;
    std::int64_t keys = 0;
  };

  BasicAttentionProblem<List> problem;
  Kind kind = Kind::scores;
  TileShape tile;         // Br, Bc
  bool key_mask = false;  // mask: reads Tensor::mask
  bool dropped = false;   // output: reads Tensor::dropped instead of probabilities
  bool rows_fit = true;   // softmax: whole rows on the SM
  CtaResources cta_resources;
  std::int64_t row_blocks = 0;  // of the longest sequence

  [[nodiscard]] constexpr std::int64_t ctas() const {
    return row_blocks * static_cast<std::int64_t>(problem.sequences.size()) * problem.q_heads;
  }
  [[nodiscard]] CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const { return cta_resources; }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const {
    Cta c;
    c.plane = number / row_blocks;
    c.sequence = c.plane / problem.q_heads;
    c.kv_plane = c.sequence * problem.kv_heads + c.plane % problem.q_heads / problem.group();
    const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(c.sequence)];
    c.first_row = number % row_blocks * tile.m;
    c.rows = static_cast<std::int32_t>(std::clamp<std::int64_t>(s.queries - c.first_row, 0, tile.m));
    c.keys = s.keys;
    if (c.rows > 0) c.steps = tiles_of(s.keys, tile.n) * (kind == Kind::softmax && !rows_fit ? 2 : 1);
    return c;
  }

  // See AttentionProblem::placed.
  template <class Place>
  [[nodiscard]] BasicStandardKernel<Viewed> placed(Place&& place) const {
    return {problem.placed(place), kind, tile, key_mask, dropped, rows_fit, cta_resources, row_blocks};
  }

  template <class V>
  void prologue(const Cta& c, V& v) const {
    if (kind == Kind::scores && c.steps > 0)
      v.load(ref(Tensor::q, c.plane, c.first_row, c.rows, 0, problem.head_dim, problem.element_bytes));
  }

  template <class V>
  void step(const Cta& c, std::int64_t step, V& v) const {
    const std::int64_t tiles = tiles_of(c.keys, tile.n);
    const std::int64_t key = step % tiles * tile.n;
    const std::int64_t keys = std::min<std::int64_t>(tile.n, c.keys - key);
    const std::int64_t padded = std::int64_t{tile.m} * tile.n;
    const auto square = [&](Tensor t, double bytes) {
      return ref(t, c.plane, c.first_row, c.rows, key, keys, bytes);
    };
    const double e = problem.element_bytes;
    switch (kind) {
      case Kind::scores:
        v.load(ref(Tensor::k, c.kv_plane, key, keys, 0, problem.head_dim, problem.kv_element_bytes));
        v.mma(tile.m, tile.n, problem.head_dim);
        v.store(square(Tensor::scores, e));
        break;
      case Kind::mask:
        v.load(square(Tensor::scores, e));
        if (key_mask) v.load(ref(Tensor::mask, c.sequence, 0, 1, key, keys, 1));
        v.alu(padded);
        v.store(square(Tensor::scores, e));
        break;
      case Kind::softmax:
        v.load(square(Tensor::scores, e));
        if (rows_fit || step < tiles) v.exp(padded), v.alu(3 * padded);  // maximum, shift, sum
        if (!rows_fit && step >= tiles) {
          v.exp(padded), v.alu(2 * padded);
          v.store(square(Tensor::probabilities, e));
        }
        break;
      case Kind::dropout:
        v.load(square(Tensor::probabilities, e));
        v.alu(2 * padded);
        v.store(square(Tensor::dropped, e));
        v.store(square(Tensor::dropout, 1));
        break;
      case Kind::output:
        v.load(square(dropped ? Tensor::dropped : Tensor::probabilities, e));
        v.load(ref(Tensor::v, c.kv_plane, key, keys, 0, problem.v_head_dim, problem.kv_element_bytes));
        v.mma(tile.m, problem.v_head_dim, tile.n);
        break;
    }
  }

  template <class V>
  void epilogue(const Cta& c, V& v) const {
    if (c.rows == 0) return;
    if (kind == Kind::softmax && rows_fit)
      for (std::int64_t key = 0; key < c.keys; key += tile.n)
        v.store(ref(Tensor::probabilities, c.plane, c.first_row, c.rows, key,
                    std::min<std::int64_t>(tile.n, c.keys - key), problem.element_bytes));
    if (kind == Kind::output)
      v.store(ref(Tensor::o, c.plane, c.first_row, c.rows, 0, problem.v_head_dim, problem.element_bytes));
  }

 private:
  static TileRef ref(Tensor t, std::int64_t plane, std::int64_t row, std::int64_t rows, std::int64_t col,
                     std::int64_t cols, double bytes) {
    return {.tensor = t,
            .rows = static_cast<std::int32_t>(rows),
            .cols = static_cast<std::int32_t>(cols),
            .plane = plane,
            .row = row,
            .col = col,
            .element_bytes = bytes};
  }
};

using StandardKernel = BasicStandardKernel<Owned>;

static_assert(TileProgram<StandardKernel>);

struct StandardOptions {
  bool key_mask = false;  // a key-padding mask beside the causal one and the window
  bool dropout = false;
  std::int64_t sms = 108;
  std::int64_t smem_per_cta = 166912;
};

struct StandardAttention {
  StandardAttention(const AttentionProblem& problem, const StandardOptions& options);

  std::vector<StandardKernel> kernels;  // in launch order
  StandardOptions options;

  template <class F>
  void for_each(F&& f) const {
    static constexpr const char* kNames[] = {"scores", "mask", "softmax", "dropout", "output"};
    for (const StandardKernel& k : kernels) f(kNames[static_cast<int>(k.kind)], k);
  }

  // Gradients by counting: dV = P'^T dO, dP' = dO V^T, dP by the dropout mask, dS by the softmax, dQ = dS K,
  // dK = dS^T Q. Each product keeps as many rows of its result on the SM as the forward product of its kind.
  [[nodiscard]] Traffic backward_traffic() const;
  // Most N x N bytes alive at once beyond inputs and outputs, forward alone or with what training keeps.
  [[nodiscard]] std::int64_t peak_extra_bytes(bool backward) const;
};

}  // namespace tessera
