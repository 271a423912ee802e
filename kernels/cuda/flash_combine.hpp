// The CUDA body of FlashCombine (kernels/tiles/attention_combine.hpp), as FlashAttention-2 joins its splits:
// four floats a thread, so that a row of d takes d / 4 threads and a CTA of 128 holds 512 / d rows.
#pragma once

#include "kernels/cuda/flash_forward.hpp"
#include "kernels/tiles/attention_combine.hpp"

namespace tessera::cuda {

template <int kHeadDim, Float16 kFormat>
struct FlashCombineKernel {
  static constexpr int kThreads = 128;
  static constexpr int kLanesPerRow = kHeadDim / 4;
  static constexpr int kRows = kThreads / kLanesPerRow;  // of a CTA

  struct Arguments {
    BasicFlashCombine<Viewed> program;
    AttentionMemory memory;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const auto c = a.program.cta(lane.block());
    const int mine = lane.thread() / kLanesPerRow, col = lane.thread() % kLanesPerRow * 4;
    if (mine >= c.rows) return;
    const auto& forward = a.program.forward;
    const std::int64_t height = forward.rows(0), all = forward.planes() * height;
    const std::int64_t at = c.first_row + mine;  // counted through the planes of one split
    float most = -std::numeric_limits<float>::infinity();
    for (int s = 0; s < c.splits; ++s) most = fmaxf(most, a.memory.lse_partial[s * all + at]);
    float o[4] = {}, sum = 0;
    if (most != -std::numeric_limits<float>::infinity())
      for (int s = 0; s < c.splits; ++s) {
        const float weight = lane.exp2((a.memory.lse_partial[s * all + at] - most) * kLog2E);
        sum += weight;
        const Chunk part = lane.load_past_l1(
            reinterpret_cast<const Chunk*>(a.memory.o_partial + (s * all + at) * kHeadDim + col));
        for (int i = 0; i < 4; ++i) o[i] += weight * lane.as_float(part.word[i]);
      }
    const float inverse = sum > 0 ? 1 / sum : 0.0f;

    const std::int64_t plane = at / height, row = at % height;
    const auto sequence = static_cast<std::size_t>(plane / forward.heads());
    const int g = forward.group();
    const std::int64_t token = a.memory.first_token[sequence] + row / g;
    const std::int64_t to = token * forward.problem.q_heads + plane % forward.heads() * g + row % g;
    auto* const words = reinterpret_cast<std::uint32_t*>(a.memory.o + to * kHeadDim + col);
    words[0] = lane.template pack<kFormat>(o[0] * inverse, o[1] * inverse);
    words[1] = lane.template pack<kFormat>(o[2] * inverse, o[3] * inverse);
    if (col == 0)
      a.memory.lse[to] = sum > 0 ? most + log2f(sum) / kLog2E : -std::numeric_limits<float>::infinity();
  }
};

}  // namespace tessera::cuda
