// Laws of the bytes attention programs move, over random shapes.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "kernels/tiles/attention_totals.hpp"
#include "tests/support/attention_reference.hpp"

namespace tessera {
namespace {

constexpr FlashCard kH100{132, 232448, 233472, false};

FlashForward one_split(const AttentionProblem& p, bool packed) {
  FlashForward f;
  f.problem = p;
  f.tile = {64, 64};
  f.packed = packed;
  f.number_ctas();
  return f;
}

TEST(TileTraffic, EveryTensorCrossesAtLeastOnce) {
  EXPECT_TRUE(rc::check("compulsory bytes", [] {
    const AttentionProblem p = test::random_problem();
    for (const FlashLaunch& launch : {fa2::launch(p, FlashCard{}), fa3::launch(p, kH100)}) {
      const Traffic t = totals_of_launch(launch);
      std::int64_t queries = 0, keys = 0;
      for (const AttentionSequence& s : p.sequences) {
        queries += s.queries;
        if (s.queries == 0 || s.keys == 0) continue;
        const std::int64_t first = p.visible(s.keys - s.queries, s.keys).begin;
        keys += s.keys - first;  // seen by some query
      }
      RC_ASSERT(t.written_of(Tensor::o) == queries * p.q_heads * p.v_head_dim * 2);
      const auto needed =
          static_cast<std::int64_t>(static_cast<double>(keys * p.kv_heads) * p.kv_element_bytes);
      RC_ASSERT(t.read_of(Tensor::k) >= needed * p.head_dim);
      RC_ASSERT(t.read_of(Tensor::v) >= needed * p.v_head_dim);
    }
  }));
}

TEST(TileTraffic, MasksNeverAddWorkOrBytes) {
  EXPECT_TRUE(rc::check("masks", [] {
    AttentionProblem p = test::random_problem();
    p.causal = false, p.window = 0;
    const Traffic all = totals_of(one_split(p, false));
    p.causal = true;
    const Traffic causal = totals_of(one_split(p, false));
    p.window = *rc::gen::inRange<std::int64_t>(1, 300);
    const Traffic window = totals_of(one_split(p, false));
    RC_ASSERT(causal.bytes() <= all.bytes() && causal.mma_flops <= all.mma_flops);
    RC_ASSERT(window.bytes() <= causal.bytes() && window.mma_flops <= causal.mma_flops);
    ++p.window;
    RC_ASSERT(totals_of(one_split(p, false)).bytes() >= window.bytes());
  }));
}

TEST(TileTraffic, PackingHeadsReadsKeysFewerTimes) {
  EXPECT_TRUE(rc::check("packing", [] {
    const AttentionProblem p = test::random_problem();
    const Traffic apart = totals_of(one_split(p, false)), packed = totals_of(one_split(p, true));
    RC_ASSERT(packed.read_of(Tensor::k) <= apart.read_of(Tensor::k));
    RC_ASSERT(packed.written == apart.written);
    bool decode = p.window == 0;
    for (const AttentionSequence& s : p.sequences) decode = decode && s.queries == 1;
    if (decode) RC_ASSERT(packed.read_of(Tensor::k) * p.group() == apart.read_of(Tensor::k));
  }));
}

TEST(TileTraffic, SplitsReadTheSameKeysAndOnlyAddPartials) {
  EXPECT_TRUE(rc::check("splits", [] {
    FlashForward f = one_split(test::random_problem(), *rc::gen::arbitrary<bool>());
    const Traffic whole = totals_of(f);
    f.most_splits = *rc::gen::inRange(2, 9);
    f.numbering = Numbering::rows_splits_heads_sequences;
    f.split_from_key_zero = f.zeroes_empty_partials = *rc::gen::arbitrary<bool>();
    f.number_ctas();
    const Traffic split = totals_of(f);
    RC_ASSERT(split.read_of(Tensor::k) == whole.read_of(Tensor::k));
    RC_ASSERT(split.mma_flops == whole.mma_flops);
    RC_ASSERT(split.read_of(Tensor::q) <= f.most_splits * whole.read_of(Tensor::q));
    RC_ASSERT(split.written_of(Tensor::o) == 0);
    RC_ASSERT(split.written_of(Tensor::lse_partial) == f.most_splits * whole.written_of(Tensor::lse));
  }));
}

TEST(TileTraffic, TheOrderOfSequencesChangesNoTotal) {
  EXPECT_TRUE(rc::check("order", [] {
    AttentionProblem p = test::random_problem();
    const Traffic before = totals_of_launch(fa3::launch(p, kH100));
    std::reverse(p.sequences.begin(), p.sequences.end());
    RC_ASSERT(totals_of_launch(fa3::launch(p, kH100)) == before);
  }));
}

TEST(TileTraffic, MoreSharedMemoryNeverMovesMoreBytesInFlashAttention1) {
  EXPECT_TRUE(rc::check("fa1", [] {
    AttentionProblem p;
    p.causal = *rc::gen::arbitrary<bool>();
    p.head_dim = p.v_head_dim = *rc::gen::element(32, 64, 128);
    p.sequences = {{*rc::gen::inRange<std::int64_t>(1, 3000), 0}};
    p.sequences[0].keys = p.sequences[0].queries;
    const std::int64_t blocks = p.head_dim / 16 + *rc::gen::inRange<std::int64_t>(0, 20);  // so that Br = d
    const std::int64_t smem = 4 * 2 * p.head_dim * 16 * blocks;
    // Doubling Bc merges every two turns of the outer loop.
    RC_ASSERT(totals_of(FlashAttention1(p, 2 * smem)).read_of(Tensor::q) <=
              totals_of(FlashAttention1(p, smem)).read_of(Tensor::q));
  }));
}

}  // namespace
}  // namespace tessera
