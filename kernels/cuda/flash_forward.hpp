// The CUDA body of FlashForward (kernels/tiles/attention_flash.hpp): FlashAttention-2's split-KV kernel over
// a paged cache, 64 rows a CTA, four warps of 16 rows each, one buffer of K and one of V.
//
// Per key tile, last first: S = Q K^T while V arrives, online softmax in registers, O += P V while the next
// K arrives. Products run on the tensor cores (mma.sync m16n8k16, fp32 sums), loads are asynchronous copies
// of 16 bytes into swizzled shared memory. Grid, tiles, splits and masks are the tile program's.
// Left out: TMA, warpgroup and tcgen05 products, so Hopper and Blackwell run below their best.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/cuda/lane.hpp"
#include "kernels/tiles/attention_fa2.hpp"
#include "kernels/tiles/attention_flash.hpp"

namespace tessera::cuda {

// Where the tensors of one call lie. Q and O are [token, head, d]; K and V [page, token, head, d] behind a
// block table. All sequences start at first_token of Q and first_page of the table.
struct AttentionMemory {
  const std::uint16_t* q = nullptr;
  const std::uint16_t* k = nullptr;
  const std::uint16_t* v = nullptr;
  std::uint16_t* o = nullptr;
  float* lse = nullptr;          // [token, head]
  float* o_partial = nullptr;    // [split, sequence, head, row, d]
  float* lse_partial = nullptr;  // [split, sequence, head, row]
  const std::int32_t* block_table = nullptr;
  std::span<const std::int64_t> first_token;
  std::span<const std::int64_t> first_page;
};

template <int kHeadDim, Float16 kFormat>
struct FlashForwardKernel {
  static constexpr TileShape kTile = fa2::tile(kHeadDim);
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kChunks = kHeadDim / kChunkHalves;  // of a row
  static constexpr int kSteps = kHeadDim / 16;             // of a product along d
  static constexpr int kKeyBlocks = kTile.n / 8, kDimBlocks = kHeadDim / 8;
  static constexpr std::int64_t kSharedBytes = fa2::smem_bytes(kHeadDim, kHeadDim);
  static_assert(kTile.m == 16 * kWarps, "a warp owns 16 rows");

  struct Arguments {
    BasicFlashForward<Viewed> program;
    AttentionMemory memory;
  };
  using Cta = BasicFlashForward<Viewed>::Cta;

  // Row `row` of plane (sequence, head) in [token, head].
  static constexpr std::int64_t query_row(const Arguments& a, const Cta& c, std::int64_t row) {
    const int g = a.program.group();
    const std::int64_t token = a.memory.first_token[static_cast<std::size_t>(c.sequence)] + row / g;
    return token * a.program.problem.q_heads + std::int64_t{c.head} * g + row % g;
  }

  template <class Lane>
  TESSERA_KERNEL static void load_queries(Lane& lane, const Arguments& a, const Cta& c, Chunk* to) {
    for (int i = lane.thread(); i < kTile.m * kChunks; i += kThreads) {
      const int row = i / kChunks, chunk = i % kChunks;
      const bool exists = row < c.rows;
      const std::int64_t at = exists ? query_row(a, c, c.first_row + row) : 0;
      lane.copy_async(to + swizzled<kChunks>(row, chunk), a.memory.q + at * kHeadDim + chunk * kChunkHalves,
                      exists);
    }
  }

  // Slots in the pool of the keys of one tile: lane i of every warp knows the first of keys
  // [i kKeysPerLane, (i + 1) kKeysPerLane), which lie in one page. 0 past the last key.
  static constexpr int kKeysPerLane = kTile.n / kWarp;  // divides page_tokens
  template <class Lane>
  TESSERA_KERNEL static int find_slots(Lane& lane, const Arguments& a, const Cta& c, int tile) {
    const int key = tile * kTile.n + lane.thread() % kWarp * kKeysPerLane,
              page = a.program.problem.page_tokens;
    if (key < 0 || key >= c.keys) return 0;
    const std::int64_t first = a.memory.first_page[static_cast<std::size_t>(c.sequence)];
    return a.memory.block_table[first + key / page] * page + key % page;
  }

  // Keys or values of one tile; rows past the last key become zeros, which no probability multiplies.
  template <class Lane>
  TESSERA_KERNEL static void load_keys(Lane& lane, const Arguments& a, const std::uint16_t* from, int head,
                                       int slots, int rows, Chunk* to) {
    constexpr int kRowsAtOnce = kThreads / kChunks;
    const int chunk = lane.thread() % kChunks, column = head + chunk * kChunkHalves;
    const int token = a.program.problem.kv_heads * kHeadDim;
    TESSERA_UNROLL_BY(4)
    for (int i = 0; i < kTile.n / kRowsAtOnce; ++i) {
      const int row = lane.thread() / kChunks + i * kRowsAtOnce;
      const int slot = lane.shuffle(slots, row / kKeysPerLane) + row % kKeysPerLane;
      const bool exists = row < rows;
      lane.copy_async(to + swizzled<kChunks>(row, chunk),
                      from + (exists ? std::int64_t{slot} * token + column : 0), exists);
    }
  }

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const Cta c = a.program.cta(lane.block());
    if (c.rows == 0) return;
    Chunk* const q = reinterpret_cast<Chunk*>(lane.shared());
    Chunk* const k = q + kTile.m * kChunks;
    Chunk* const v = k + kTile.n * kChunks;
    const int warp = lane.thread() / kWarp, id = lane.thread() % kWarp;

    float o[kDimBlocks][4] = {};
    float most[2] = {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
    float sum[2] = {0, 0};
    const float scale = kLog2E / sqrtf(static_cast<float>(kHeadDim));

    // Position of the first query of this sequence, and my row of the launch's numbering.
    const auto start =
        static_cast<int>(c.keys - a.program.problem.sequences[static_cast<std::size_t>(c.sequence)].queries);
    const auto first_row = static_cast<int>(c.first_row);
    const auto keys = static_cast<int>(c.keys), steps = static_cast<int>(c.steps);
    const auto masked_from = static_cast<int>(c.masked_from), masked_until = static_cast<int>(c.masked_until);
    const int head = static_cast<int>(c.kv_plane % a.program.problem.kv_heads) * kHeadDim;

    if (c.steps > 0) load_queries(lane, a, c, q);
    auto tile = static_cast<int>(c.last_tile);
    int slots = find_slots(lane, a, c, tile);
    if (steps > 0) load_keys(lane, a, a.memory.k, head, slots, keys - tile * kTile.n, k);
    lane.commit();
    for (int step = 0; step < steps; ++step, --tile) {
      const int next_slots = find_slots(lane, a, c, tile - 1);
      lane.template wait<0>();  // K is here
      lane.sync();              // for all, and nobody reads the last V any more
      load_keys(lane, a, a.memory.v, head, slots, keys - tile * kTile.n, v);
      lane.commit();
      slots = next_slots;

      // swizzled(row, chunk) of the rows an ldmatrix reads is (start of row) + (even chunk ^ bits of mine).
      // All from a number the compiler cannot see through, lest these addresses stay in registers between
      // turns.
      const int me = lane.unknown(id);
      const Chunk* const q_row = q + (warp * 16 + me % 16) * kChunks;
      const Chunk* const k_row = k + (me % 8 + me / 16 * 8) * kChunks;
      const Chunk* const v_row = v + me % 16 * kChunks;
      const int q_bits = me / 16 ^ me % 8, k_bits = me / 8 % 2 ^ me % 8;
      float s[kKeyBlocks][4] = {};
      std::uint32_t left[kSteps][4];
      TESSERA_UNROLL
      for (int d = 0; d < kSteps; ++d) lane.load_matrices(left[d], q_row + (2 * d ^ q_bits));
      TESSERA_UNROLL
      for (int n = 0; n < kKeyBlocks; n += 2) {
        TESSERA_UNROLL
        for (int d = 0; d < kSteps; ++d) {
          std::uint32_t right[4];  // (keys 0-7, d 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15)
          lane.load_matrices(right, k_row + n * 8 * kChunks + (2 * d ^ k_bits));
          lane.template mma<kFormat>(s[n], left[d], right[0], right[1]);
          lane.template mma<kFormat>(s[n + 1], left[d], right[2], right[3]);
        }
      }

      if (tile >= masked_from || tile < masked_until) {
        TESSERA_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int row = first_row + warp * 16 + me / 4 + 8 * half, column = tile * kTile.n + me % 4 * 2;
          const KeyRange seen = a.program.problem.visible(start + row / a.program.group(), keys);
          const auto low = static_cast<int>(seen.begin) - column, high = static_cast<int>(seen.end) - column;
          TESSERA_UNROLL
          for (int i = 0; i < 2 * kKeyBlocks; ++i) {
            const int n = i / 2, e = i % 2;
            if (n * 8 + e < low || n * 8 + e >= high)
              s[n][2 * half + e] = -std::numeric_limits<float>::infinity();
          }
        }
      }

      // Online softmax: a row lies in the four lanes of a quad.
      TESSERA_UNROLL
      for (int half = 0; half < 2; ++half) {
        float top = most[half];
        TESSERA_UNROLL
        for (int n = 0; n < kKeyBlocks; ++n) top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        top = fmaxf(top, lane.shuffle_xor(top, 1));
        top = fmaxf(top, lane.shuffle_xor(top, 2));
        // A row that has seen no key yet keeps the maximum -inf; shifting by 0 leaves its weights 0.
        const float shift = top == -std::numeric_limits<float>::infinity() ? 0.0f : top * scale;
        const float shrink = lane.exp2(most[half] * scale - shift);
        most[half] = top;
        float added = 0;
        TESSERA_UNROLL
        for (int i = 0; i < 2 * kKeyBlocks; ++i) {
          float& weight = s[i / 2][2 * half + i % 2];
          weight = lane.exp2(weight * scale - shift);
          added += weight;
        }
        sum[half] = sum[half] * shrink + added;
        TESSERA_UNROLL
        for (int n = 0; n < kDimBlocks; ++n) o[n][2 * half] *= shrink, o[n][2 * half + 1] *= shrink;
      }

      lane.template wait<0>();  // V is here
      lane.sync();              // for all, and nobody reads this K any more
      if (step + 1 < steps) load_keys(lane, a, a.memory.k, head, slots, kTile.n, k);
      lane.commit();
      TESSERA_UNROLL
      for (int n = 0; n < kTile.n / 16; ++n) {
        // The sums of two products along keys are the left operand of the next.
        const std::uint32_t weights[4] = {lane.template pack<kFormat>(s[2 * n][0], s[2 * n][1]),
                                          lane.template pack<kFormat>(s[2 * n][2], s[2 * n][3]),
                                          lane.template pack<kFormat>(s[2 * n + 1][0], s[2 * n + 1][1]),
                                          lane.template pack<kFormat>(s[2 * n + 1][2], s[2 * n + 1][3])};
        TESSERA_UNROLL
        for (int d = 0; d < kDimBlocks; d += 2) {
          std::uint32_t right[4];  // (keys 0-7, d 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15)
          lane.load_matrices_transposed(right, v_row + n * 16 * kChunks + (d ^ q_bits));
          lane.template mma<kFormat>(o[d], weights, right[0], right[1]);
          lane.template mma<kFormat>(o[d + 1], weights, right[2], right[3]);
        }
      }
    }
    lane.template wait<0>();
    // Likewise: where the results go is not kept through the loop.
    finish(lane, a, a.program.cta(lane.unknown(static_cast<int>(lane.block()))), o, most, sum, scale);
  }

  // O / sum and log-sum-exps to memory, as partial results in fp32 where the keys were split.
  template <class Lane>
  TESSERA_KERNEL static void finish(Lane& lane, const Arguments& a, const Cta& c, float (&o)[kDimBlocks][4],
                                    const float (&most)[2], float (&sum)[2], float scale) {
    const int warp = lane.thread() / kWarp, id = lane.thread() % kWarp;
    const int group = id / 4, quad = id % 4;
    const std::int64_t height = a.program.rows(c.sequence);  // equal for all where keys are split
    TESSERA_UNROLL
    for (int half = 0; half < 2; ++half) {
      float total = sum[half];
      total += lane.shuffle_xor(total, 1);
      total += lane.shuffle_xor(total, 2);
      const float inverse = total > 0 ? 1 / total : 0.0f;
      const int local = warp * 16 + group + 8 * half;
      if (local >= c.rows) continue;
      const std::int64_t row = c.first_row + local;
      const bool partial = c.splits > 1;
      const std::int64_t at = partial ? c.partial_plane * height + row : query_row(a, c, row);
      if (quad == 0)
        (partial ? a.memory.lse_partial : a.memory.lse)[at] =
            total > 0 ? (most[half] * scale + log2f(total)) / kLog2E
                      : -std::numeric_limits<float>::infinity();
      if (partial) {
        float* const to = a.memory.o_partial + at * kHeadDim + 2 * quad;
        TESSERA_UNROLL
        for (int n = 0; n < kDimBlocks; ++n) {
          to[n * 8] = o[n][2 * half] * inverse;
          to[n * 8 + 1] = o[n][2 * half + 1] * inverse;
        }
      } else {
        auto* const to = reinterpret_cast<std::uint32_t*>(a.memory.o + at * kHeadDim) + quad;
        TESSERA_UNROLL
        for (int n = 0; n < kDimBlocks; ++n)
          to[n * 4] = lane.template pack<kFormat>(o[n][2 * half] * inverse, o[n][2 * half + 1] * inverse);
      }
    }
  }
};

}  // namespace tessera::cuda
