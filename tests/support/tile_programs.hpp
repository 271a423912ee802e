// Random cards and tile programs for properties of the tile grain.
#pragma once

#include <rapidcheck.h>

#include <vector>

#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/gemm_program.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera::test {

inline const Gpu& any_card() {
  static const std::vector<Gpu> cards = {load_gpu("a100-sxm-80g"), load_gpu("h100-sxm"), load_gpu("l40s")};
  return cards[*rc::gen::inRange<std::size_t>(0, cards.size())];
}

inline GemmProgram any_gemm() {
  GemmProgram g;
  g.m = *rc::gen::inRange<std::int64_t>(1, 6000);
  g.n = *rc::gen::inRange<std::int64_t>(1, 6000);
  g.k = *rc::gen::inRange<std::int64_t>(1, 3000);
  g.tile = kGemmTiles[*rc::gen::inRange<std::size_t>(0, std::size(kGemmTiles))];
  g.splits = *rc::gen::element(1, 1, 2, 5);
  return g;
}

inline AttentionProblem any_attention() {
  AttentionProblem p;
  p.kv_heads = *rc::gen::element(1, 2, 4);
  p.q_heads = p.kv_heads * *rc::gen::element(1, 2, 5);
  p.head_dim = p.v_head_dim = *rc::gen::element(64, 128, 256);
  p.window = *rc::gen::element<std::int64_t>(0, 0, 200);
  p.page_tokens = *rc::gen::element(0, 16, 64);
  const int sequences = *rc::gen::inRange(1, 9);
  const bool decode = *rc::gen::arbitrary<bool>();
  for (int i = 0; i < sequences; ++i) {
    const auto queries = decode ? 1 : *rc::gen::inRange<std::int64_t>(1, 700);
    p.sequences.push_back({queries, queries + *rc::gen::inRange<std::int64_t>(0, 3000)});
  }
  return p;
}

inline FlashForward any_flash(const Gpu& gpu) {
  const FlashCard c = FlashCard::of(gpu);
  const AttentionProblem p = any_attention();
  return (*rc::gen::arbitrary<bool>() ? fa2::launch(p, c) : fa3::launch(p, c)).forward;
}

}  // namespace tessera::test
