// The CUDA bodies of unfused attention (kernels/tiles/attention_standard.hpp): scores, mask, softmax and
// output, each with its N x N matrix in global memory, in the tile program's grid and tiles of 32 keys.
//
// scores: Q rows stay in shared memory, K streams through two buffers. output: O stays in registers, at most
// two pieces of 16 rows x 64 columns a warp; P and V stream through two buffers. softmax: one warp a row,
// from global memory and, where whole rows fit, through shared memory. Left out: dropout, key-padding masks.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/cuda/lane.hpp"
#include "kernels/tiles/attention_standard.hpp"

namespace tessera::cuda {

struct StandardMemory {
  const std::uint16_t* q = nullptr;  // [token, head, d]
  const std::uint16_t* k = nullptr;  // [token, kv head, d]
  const std::uint16_t* v = nullptr;
  std::uint16_t* scores = nullptr;         // [sequence, head, row, row_stride]
  std::uint16_t* probabilities = nullptr;  // likewise
  std::uint16_t* o = nullptr;              // [token, head, d]
  std::int64_t rows = 0;                   // of a plane
  std::int64_t row_stride = 0;             // elements, a multiple of 32
  std::span<const std::int64_t> first_token;
  std::span<const std::int64_t> first_key;
};

struct StandardArguments {
  BasicStandardKernel<Viewed> program;
  StandardMemory memory;
};

inline constexpr int kStandardKeys = 32;  // of a tile

struct StandardPlace {
  BasicStandardKernel<Viewed>::Cta cta;
  std::int64_t head, kv_head;

  static constexpr StandardPlace of(const StandardArguments& a, std::int64_t block) {
    StandardPlace at{a.program.cta(block), 0, 0};
    at.head = at.cta.plane % a.program.problem.q_heads;
    at.kv_head = at.cta.kv_plane % a.program.problem.kv_heads;
    return at;
  }
};

// Rows [first, first + count) of a [token, head, d] tensor into swizzled shared memory, `rows` of them.
template <int kHeadDim, class Lane>
TESSERA_KERNEL void load_rows(Lane& lane, const std::uint16_t* from, std::int64_t heads, std::int64_t head,
                              std::int64_t first, int count, int rows, Chunk* to) {
  constexpr int kChunks = kHeadDim / kChunkHalves;
  for (int i = lane.thread(); i < rows * kChunks; i += lane.threads()) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool exists = row < count;
    const std::int64_t at = exists ? ((first + row) * heads + head) * kHeadDim : 0;
    lane.copy_async(to + swizzled<kChunks>(row, chunk), from + at + chunk * kChunkHalves, exists);
  }
}

template <int kHeadDim, Float16 kFormat>
struct StandardScoresKernel {
  static constexpr int kThreads = 512;
  static constexpr int kChunks = kHeadDim / kChunkHalves;
  using Arguments = StandardArguments;

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto at = StandardPlace::of(a, lane.block());
    const auto& c = at.cta;
    if (c.rows == 0) return;
    const auto& p = a.program.problem;
    const auto sequence = static_cast<std::size_t>(c.sequence);
    Chunk* const q = static_cast<Chunk*>(lane.shared());
    Chunk* const keys = q + a.program.tile.m * kChunks;
    const int warp = lane.thread() / kWarp, id = lane.thread() % kWarp, warps = lane.threads() / kWarp;
    const int group = id / 4, quad = id % 4;
    const float scale = 1 / sqrtf(static_cast<float>(kHeadDim));
    const std::int64_t first_key = a.memory.first_key[sequence];
    const auto load_keys = [&](std::int64_t step) {
      const std::int64_t key = step * kStandardKeys;
      load_rows<kHeadDim>(lane, a.memory.k, p.kv_heads, at.kv_head, first_key + key,
                          static_cast<int>(std::min<std::int64_t>(kStandardKeys, c.keys - key)),
                          kStandardKeys, keys + step % 2 * kStandardKeys * kChunks);
    };

    load_rows<kHeadDim>(lane, a.memory.q, p.q_heads, at.head, a.memory.first_token[sequence] + c.first_row,
                        c.rows, a.program.tile.m, q);
    load_keys(0);
    lane.commit();
    for (std::int64_t step = 0; step < c.steps; ++step) {
      if (step + 1 < c.steps) load_keys(step + 1);
      lane.commit();
      lane.template wait<1>();
      lane.sync();
      const Chunk* const k = keys + step % 2 * kStandardKeys * kChunks;
      for (int slab = warp; slab * 16 < c.rows; slab += warps) {
        float s[kStandardKeys / 8][4] = {};
        TESSERA_UNROLL
        for (int d = 0; d < kHeadDim / 16; ++d) {
          std::uint32_t left[4];
          lane.load_matrices(left, q + swizzled<kChunks>(slab * 16 + id % 16, 2 * d + id / 16));
          TESSERA_UNROLL
          for (int n = 0; n < kStandardKeys / 8; n += 2) {
            std::uint32_t right[4];
            lane.load_matrices(right,
                               k + swizzled<kChunks>(n * 8 + id % 8 + id / 16 * 8, 2 * d + id / 8 % 2));
            lane.template mma<kFormat>(s[n], left, right[0], right[1]);
            lane.template mma<kFormat>(s[n + 1], left, right[2], right[3]);
          }
        }
        for (int half = 0; half < 2; ++half) {
          const int row = slab * 16 + group + 8 * half;
          if (row >= c.rows) continue;
          // Columns past the last key fall into the padding of the row.
          auto* const to = reinterpret_cast<std::uint32_t*>(
              a.memory.scores + (c.plane * a.memory.rows + c.first_row + row) * a.memory.row_stride +
              step * kStandardKeys);
          TESSERA_UNROLL
          for (int n = 0; n < kStandardKeys / 8; ++n)
            to[n * 4 + quad] =
                lane.template pack<kFormat>(scale * s[n][2 * half], scale * s[n][2 * half + 1]);
        }
      }
      lane.sync();  // nobody reads this buffer any more
    }
    lane.template wait<0>();
  }
};

template <Float16 kFormat>
struct StandardMaskKernel {
  static constexpr int kThreads = 256;
  using Arguments = StandardArguments;

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    const auto& p = a.program.problem;
    if (c.rows == 0) return;
    const std::int64_t start = c.keys - p.sequences[static_cast<std::size_t>(c.sequence)].queries;
    const auto hidden = static_cast<std::uint16_t>(
        lane.template pack<kFormat>(-std::numeric_limits<float>::infinity(), 0.0f));
    for (std::int64_t step = 0; step < c.steps; ++step) {
      const std::int64_t first = step * kStandardKeys;
      for (int i = lane.thread(); i < c.rows * kStandardKeys; i += lane.threads()) {
        const int row = i / kStandardKeys;
        const std::int64_t key = first + i % kStandardKeys;
        if (key >= c.keys) continue;
        const KeyRange seen = p.visible(start + c.first_row + row, c.keys);
        std::uint16_t* const at =
            a.memory.scores + (c.plane * a.memory.rows + c.first_row + row) * a.memory.row_stride + key;
        *at = key >= seen.begin && key < seen.end ? *at : hidden;
      }
    }
  }
};

template <Float16 kFormat>
struct StandardSoftmaxKernel {
  static constexpr int kThreads = 256;
  using Arguments = StandardArguments;

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    const int warp = lane.thread() / kWarp, id = lane.thread() % kWarp, warps = lane.threads() / kWarp;
    float* const kept = static_cast<float*>(lane.shared());
    const bool fits = a.program.rows_fit;
    for (int row = warp; row < c.rows; row += warps) {
      const std::int64_t at = (c.plane * a.memory.rows + c.first_row + row) * a.memory.row_stride;
      float* const mine = kept + row * c.keys;
      float most = -std::numeric_limits<float>::infinity(), sum = 0;
      for (std::int64_t key = id; key < c.keys; key += kWarp) {
        const float score = lane.template unpack<kFormat>(a.memory.scores[at + key]);
        if (fits) mine[key] = score;
        const float top = fmaxf(most, score);
        if (top != -std::numeric_limits<float>::infinity())
          sum = sum * lane.exp2((most - top) * kLog2E) + lane.exp2((score - top) * kLog2E);
        most = top;
      }
      for (int mask = 1; mask < kWarp; mask *= 2) {
        const float other = lane.shuffle_xor(most, mask), more = lane.shuffle_xor(sum, mask);
        const float top = fmaxf(most, other);
        if (top != -std::numeric_limits<float>::infinity())
          sum = sum * lane.exp2((most - top) * kLog2E) + more * lane.exp2((other - top) * kLog2E);
        most = top;
      }
      // A row whose keys are all masked gets probabilities 0, as the host does.
      const float inverse = sum > 0 ? 1 / sum : 0.0f;
      const float shift = sum > 0 ? most : 0.0f;
      // The output kernel reads whole chunks: zeros up to the end of the last.
      const std::int64_t padded = (c.keys + kChunkHalves - 1) / kChunkHalves * kChunkHalves;
      for (std::int64_t key = id; key < padded; key += kWarp) {
        float weight = 0;
        if (key < c.keys) {
          const float score = fits ? mine[key] : lane.template unpack<kFormat>(a.memory.scores[at + key]);
          weight = lane.exp2((score - shift) * kLog2E) * inverse;
        }
        a.memory.probabilities[at + key] =
            static_cast<std::uint16_t>(lane.template pack<kFormat>(weight, 0.0f));
      }
    }
  }
};

template <int kHeadDim, Float16 kFormat>
struct StandardOutputKernel {
  static constexpr int kThreads = 512;
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kChunks = kHeadDim / kChunkHalves;
  static constexpr int kPieceColumns = 64;
  static constexpr int kPieces = 2;  // a warp
  static constexpr int kPiecesOfRow = kHeadDim / kPieceColumns;
  static constexpr int kRowChunks = kStandardKeys / kChunkHalves;  // of P's tile, kept as pairs of rows
  using Arguments = StandardArguments;

  // P's tile is 64 bytes a row: two rows share a 128-byte line, so that the swizzle works on lines.
  static constexpr int place(int row, int chunk) {
    return swizzled<8>(row / 2, row % 2 * kRowChunks + chunk);
  }

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto at = StandardPlace::of(a, lane.block());
    const auto& c = at.cta;
    if (c.rows == 0) return;
    const auto& problem = a.program.problem;
    const auto sequence = static_cast<std::size_t>(c.sequence);
    const int rows = a.program.tile.m, pieces = rows / 16 * kPiecesOfRow;
    Chunk* const weights = static_cast<Chunk*>(lane.shared());
    Chunk* const values = weights + 2 * rows * kRowChunks;
    const int warp = lane.thread() / kWarp, id = lane.thread() % kWarp;
    const int group = id / 4, quad = id % 4;
    const std::int64_t first_key = a.memory.first_key[sequence];
    const auto load = [&](std::int64_t step) {
      const std::int64_t key = step * kStandardKeys;
      const auto count = static_cast<int>(std::min<std::int64_t>(kStandardKeys, c.keys - key));
      load_rows<kHeadDim>(lane, a.memory.v, problem.kv_heads, at.kv_head, first_key + key, count,
                          kStandardKeys, values + step % 2 * kStandardKeys * kChunks);
      for (int i = lane.thread(); i < rows * kRowChunks; i += lane.threads()) {
        const int row = i / kRowChunks, chunk = i % kRowChunks;
        const bool exists = row < c.rows && chunk * kChunkHalves < count;
        const std::int64_t from =
            exists ? (c.plane * a.memory.rows + c.first_row + row) * a.memory.row_stride + key : 0;
        lane.copy_async(weights + step % 2 * rows * kRowChunks + place(row, chunk),
                        a.memory.probabilities + from + chunk * kChunkHalves, exists);
      }
    };

    float o[kPieces][kPieceColumns / 8][4] = {};
    if (c.steps > 0) load(0);
    lane.commit();
    for (std::int64_t step = 0; step < c.steps; ++step) {
      if (step + 1 < c.steps) load(step + 1);
      lane.commit();
      lane.template wait<1>();
      lane.sync();
      const Chunk* const w = weights + step % 2 * rows * kRowChunks;
      const Chunk* const v = values + step % 2 * kStandardKeys * kChunks;
      const int me = lane.unknown(id);  // lest addresses stay in registers between turns
      TESSERA_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        const int piece = warp + i * kWarps;
        if (piece >= pieces) continue;
        const int slab = piece / kPiecesOfRow, col = piece % kPiecesOfRow * (kPieceColumns / 8);
        TESSERA_UNROLL
        for (int k = 0; k < kStandardKeys / 16; ++k) {
          std::uint32_t left[4];
          lane.load_matrices(left, w + place(slab * 16 + me % 16, 2 * k + me / 16));
          TESSERA_UNROLL
          for (int d = 0; d < kPieceColumns / 8; d += 2) {
            std::uint32_t right[4];
            lane.load_matrices_transposed(right, v + swizzled<kChunks>(k * 16 + me % 16, col + d + me / 16));
            lane.template mma<kFormat>(o[i][d], left, right[0], right[1]);
            lane.template mma<kFormat>(o[i][d + 1], left, right[2], right[3]);
          }
        }
      }
      lane.sync();
    }
    lane.template wait<0>();
    TESSERA_UNROLL
    for (int i = 0; i < kPieces; ++i) {
      const int piece = warp + i * kWarps;
      const int slab = piece / kPiecesOfRow, col = piece % kPiecesOfRow * kPieceColumns;
      for (int half = 0; half < 2; ++half) {
        const int row = slab * 16 + group + 8 * half;
        if (piece >= pieces || row >= c.rows) continue;
        const std::int64_t token = a.memory.first_token[sequence] + c.first_row + row;
        auto* const to = reinterpret_cast<std::uint32_t*>(
            a.memory.o + (token * problem.q_heads + at.head) * kHeadDim + col);
        TESSERA_UNROLL
        for (int d = 0; d < kPieceColumns / 8; ++d)
          to[d * 4 + quad] = lane.template pack<kFormat>(o[i][d][2 * half], o[i][d][2 * half + 1]);
      }
    }
  }
};

}  // namespace tessera::cuda
