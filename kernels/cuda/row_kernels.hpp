// The CUDA bodies of kernels that only move rows: KvWrite (new keys and values into their pages), RowCopy
// (queries before and outputs after a packed decode; its two layouts are the same bytes here) and the copy of
// whole KV blocks, as an engine does it when sequences part or a cache is compacted.
#pragma once

#include "kernels/cuda/lane.hpp"
#include "kernels/tiles/elementwise_program.hpp"
#include "kernels/tiles/row_programs.hpp"

namespace tessera::cuda {

struct KvWriteKernel {
  static constexpr int kThreads = 512;

  struct Arguments {
    BasicKvWrite<Viewed> program;
    const std::uint16_t* k_new;  // [token, head, d]
    const std::uint16_t* v_new;
    std::uint16_t* k;  // [page, token, head, d]
    std::uint16_t* v;
    const std::int32_t* block_table;
    std::span<const std::int64_t> first_page;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    if (c.position < 0) return;
    const auto& p = a.program.problem;
    const std::int64_t page =
        a.block_table[a.first_page[static_cast<std::size_t>(c.sequence)] + c.position / p.page_tokens];
    const std::int64_t slot = page * p.page_tokens + c.position % p.page_tokens;
    const std::int64_t k_width = std::int64_t{p.kv_heads} * p.head_dim;
    const std::int64_t v_width = std::int64_t{p.kv_heads} * p.v_head_dim;
    for (std::int64_t i = lane.thread(); i < k_width; i += lane.threads())
      a.k[slot * k_width + i] = a.k_new[c.token * k_width + i];
    for (std::int64_t i = lane.thread(); i < v_width; i += lane.threads())
      a.v[slot * v_width + i] = a.v_new[c.token * v_width + i];
  }
};

struct RowCopyKernel {
  static constexpr int kThreads = 128;

  struct Arguments {
    RowCopy program;
    const std::uint16_t* from;
    std::uint16_t* to;
    int halves;  // of one element: 1, or 2 for fp32
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    const std::int64_t width = std::int64_t{a.program.cols} * a.halves;
    const std::int64_t begin = c.first_row * width, end = begin + c.rows * width;
    for (std::int64_t i = begin + lane.thread(); i < end; i += lane.threads()) a.to[i] = a.from[i];
  }
};

// Copies pairs of blocks of one pool: 16 bytes a thread, chunks numbered as ElementwiseProgram numbers them.
struct BlockCopyKernel {
  static constexpr int kThreads = 256;

  struct Arguments {
    ElementwiseProgram program;  // of 16-bit elements, all pairs together
    const Chunk* from;
    Chunk* to;
    const std::int32_t* pairs;  // source, destination
    std::int64_t block_chunks;  // of 16 bytes
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    const std::int64_t mine = lane.thread();
    if (mine * kChunkHalves >= c.elements) return;
    const std::int64_t chunk = c.chunk * (a.program.chunk_elements() / kChunkHalves) + mine;
    const std::int64_t pair = chunk / a.block_chunks, inside = chunk % a.block_chunks;
    a.to[a.pairs[2 * pair + 1] * a.block_chunks + inside] =
        lane.load_past_l1(a.from + a.pairs[2 * pair] * a.block_chunks + inside);
  }
};

}  // namespace tessera::cuda
