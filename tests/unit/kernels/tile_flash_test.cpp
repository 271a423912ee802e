// The FlashAttention tile programs: which CTA does what, against the libraries' rules and counting by hand.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <tuple>

#include "kernels/tiles/attention_fa3.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_totals.hpp"
#include "tests/support/attention_reference.hpp"

namespace tessera {
namespace {

constexpr FlashCard kA100{108, 166912, 167936, false};
constexpr FlashCard kL40s{142, 101376, 102400, true};
constexpr FlashCard kH100{132, 232448, 233472, false};

AttentionProblem llama(std::vector<AttentionSequence> sequences, int page_tokens = 64) {
  AttentionProblem p;  // Llama 3.1 8B: 32 query heads on 8 KV heads of 128
  p.q_heads = 32, p.kv_heads = 8;
  p.page_tokens = page_tokens;
  p.sequences = std::move(sequences);
  return p;
}

AttentionProblem dense(int heads, int kv_heads, std::int64_t length, int head_dim, bool causal,
                       int batch = 1) {
  AttentionProblem p;
  p.q_heads = heads, p.kv_heads = kv_heads;
  p.head_dim = p.v_head_dim = head_dim;
  p.causal = causal;
  p.sequences.assign(static_cast<std::size_t>(batch), {length, length});
  return p;
}

std::vector<FlashForward::Cta> all_ctas(const FlashForward& f) {
  std::vector<FlashForward::Cta> ctas;
  for (std::int64_t i = 0; i < f.ctas(); ++i) ctas.push_back(f.cta(i));
  return ctas;
}

TEST(FlashProgram, EveryNumberingVisitsEveryRowHeadAndSplitOnce) {
  EXPECT_TRUE(rc::check("numbering", [] {
    FlashForward f;
    f.problem = test::random_problem();
    f.tile = {*rc::gen::element(16, 64), 32};
    f.packed = *rc::gen::arbitrary<bool>();
    f.numbering = *rc::gen::element(Numbering::rows_sequences_heads, Numbering::rows_splits_heads_sequences,
                                    Numbering::sections, Numbering::ragged);
    f.section = *rc::gen::inRange(1, 40);
    f.section_tiles = *rc::gen::inRange(0, 40);
    f.most_splits = f.numbering == Numbering::rows_sequences_heads ? 1 : *rc::gen::inRange(1, 5);
    if (f.numbering == Numbering::ragged)
      for (std::size_t s = 0; s < f.problem.sequences.size(); ++s)
        f.splits.push_back(*rc::gen::inRange(1, f.most_splits + 1));
    f.number_ctas();

    std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>> seen;
    for (const FlashForward::Cta& c : all_ctas(f)) {
      if (c.rows == 0) continue;
      RC_ASSERT(c.first_row % f.tile.m == 0);
      RC_ASSERT(seen.insert({c.sequence, c.head, c.first_row, c.split}).second);
    }
    std::size_t expected = 0;
    for (std::size_t s = 0; s < f.problem.sequences.size(); ++s)
      expected += static_cast<std::size_t>(tiles_of(f.problem.sequences[s].queries * f.group(), f.tile.m) *
                                           f.heads() * f.splits_of(static_cast<std::int64_t>(s)));
    RC_ASSERT(seen.size() == expected);
  }));
}

TEST(FlashProgram, ATileIsMaskedExactlyIfSomeOfItsScoresAre) {
  EXPECT_TRUE(rc::check("masked tiles", [] {
    FlashForward f;
    f.problem = test::random_problem();
    f.tile = {*rc::gen::element(16, 64), *rc::gen::element(16, 48)};
    f.packed = *rc::gen::arbitrary<bool>();
    f.tiles_from_window = *rc::gen::arbitrary<bool>();
    f.number_ctas();
    for (const FlashForward::Cta& c : all_ctas(f)) {
      const std::int64_t start = c.keys - f.problem.sequences[static_cast<std::size_t>(c.sequence)].queries;
      for (std::int64_t t = c.last_tile; t > c.last_tile - c.steps; --t) {
        bool all_seen = true;
        for (std::int64_t r = c.first_row; r < c.first_row + c.rows; ++r) {
          const KeyRange keys = f.problem.visible(start + r / f.group(), c.keys);
          all_seen = all_seen && keys.begin <= c.first_key + t * f.tile.n &&
                     keys.end >= c.first_key + (t + 1) * f.tile.n;
        }
        RC_ASSERT((t >= c.masked_from || t < c.masked_until) == !all_seen);
      }
    }
  }));
}

TEST(FlashProgram, VisiblePairsEqualCountingThem) {
  EXPECT_TRUE(rc::check("visible_pairs", [] {
    const AttentionProblem p = test::random_problem();
    double flops = 0;
    for (const AttentionSequence& s : p.sequences) {
      std::int64_t pairs = 0;
      for (std::int64_t i = 0; i < s.queries; ++i)
        for (std::int64_t key = 0; key < s.keys; ++key) {
          const std::int64_t position = s.keys - s.queries + i;
          pairs += (!p.causal || key <= position) && (p.window == 0 || key > position - p.window);
        }
      RC_ASSERT(p.visible_pairs(s) == pairs);
      flops += 2.0 * static_cast<double>(pairs) * p.q_heads * (p.head_dim + p.v_head_dim);
    }
    RC_ASSERT(p.useful_flops() == flops);
  }));
}

TEST(FlashProgram, UsefulWorkNeverExceedsWhatIsExecuted) {
  EXPECT_TRUE(rc::check("useful <= executed", [] {
    const AttentionProblem p = test::random_problem();
    for (const FlashLaunch& launch : {fa2::launch(p, kA100), fa3::launch(p, kH100)})
      RC_ASSERT(p.useful_flops() <= static_cast<double>(totals_of(launch.forward).mma_flops));
  }));
}

TEST(FlashProgram, AThousandTokenPromptOnThePagedFa2Kernel) {
  const FlashLaunch launch = fa2::launch(llama({{1024, 1024}}), kA100);
  const FlashForward& f = launch.forward;
  EXPECT_FALSE(f.packed);
  EXPECT_EQ(f.ctas(), 16 * 32);  // 64-row blocks x query heads
  const Traffic t = traffic_of(f);
  // 72 tiles of 128 keys a head (AttentionTiles), each 128 x 128 of K and of V in 16 bits.
  EXPECT_EQ(t.read_of(Tensor::k), 32 * 72 * 128 * 128 * 2);
  EXPECT_EQ(t.read_of(Tensor::q), 1024 * 32 * 128 * 2);
  EXPECT_EQ(t.written_of(Tensor::o), 1024 * 32 * 128 * 2);
  EXPECT_EQ(t.written_of(Tensor::lse), 1024 * 32 * 4);
  EXPECT_EQ(t.mma_flops, std::int64_t{32} * 72 * 4 * 64 * 128 * 128);
  ASSERT_TRUE(launch.kv_write.has_value());
  EXPECT_EQ(launch.kv_write->ctas(), 1024);
  EXPECT_FALSE(launch.combine.has_value());
  EXPECT_TRUE(launch.copies_before.empty() && launch.copies_after.empty());
  EXPECT_EQ(launch.extra_bytes(), 1024 * 32 * 4);
}

TEST(FlashProgram, Fa2NumbersRowsThenSequencesThenHeads) {
  const FlashForward f = fa2::launch(llama({{130, 130}, {64, 300}}), kA100).forward;
  ASSERT_EQ(f.ctas(), 3 * 2 * 32) << "as high as the longest sequence needs";
  const auto at = [&](std::int64_t i) {
    const FlashForward::Cta c = f.cta(i);
    return std::tuple{c.sequence, c.head, c.first_row, c.rows};
  };
  EXPECT_EQ(at(1), std::tuple(0, 0, 64, 64));
  EXPECT_EQ(at(2), std::tuple(0, 0, 128, 2));
  EXPECT_EQ(at(3), std::tuple(1, 0, 0, 64));
  EXPECT_EQ(at(4), std::tuple(1, 0, 64, 0)) << "past the second sequence: nothing to do";
  EXPECT_EQ(at(6), std::tuple(0, 1, 0, 64));
  EXPECT_EQ(f.order(), CtaOrder::in_order);
  EXPECT_EQ(f.cta(3).steps, 3);  // 300 keys
  EXPECT_EQ(f.cta(3).kv_plane, 1 * 8 + 0);
  EXPECT_EQ(f.cta(6 * 5).kv_plane, 0 * 8 + 5 / 4);
}

TEST(FlashProgram, OneLongDecodeOnFa2IsSplitToFillTwoCtasAnSm) {
  const FlashLaunch launch = fa2::launch(llama({{1, 8192}}), kA100);
  const FlashForward& f = launch.forward;
  EXPECT_TRUE(f.packed);
  // 8 blocks, 216 slots, 64 tiles: 22 splits (Fa2Geometry), of 3 tiles, the last of 1.
  EXPECT_EQ(f.most_splits, 22);
  EXPECT_EQ(f.ctas(), 8 * 22);
  EXPECT_EQ(f.cta(0).steps, 3);
  EXPECT_EQ(f.cta(21).steps, 1);
  EXPECT_EQ(f.cta(0).rows, 4) << "the query heads of one KV head";
  const Traffic t = traffic_of(f);
  EXPECT_EQ(t.read_of(Tensor::k) + t.read_of(Tensor::v), 8192 * 8 * 2 * 128 * 2) << "every key once";
  EXPECT_EQ(t.written_of(Tensor::o_partial), 22 * 32 * 128 * 4);
  EXPECT_EQ(t.written_of(Tensor::lse_partial), 22 * 32 * 4);
  ASSERT_TRUE(launch.combine.has_value());
  EXPECT_EQ(launch.combine->ctas(), 32 / 4);
  EXPECT_EQ(launch.combine->cta(0).steps, 22);
  EXPECT_EQ(launch.extra_bytes(), 32 * 4 + 32 * 22 * 129 * 4 + 32 * 128 * 2);  // lse, partials, output copy
}

TEST(FlashProgram, Fa2SplitsOfAShortSequenceAreEmptyAndWriteZeros) {
  const FlashLaunch launch = fa2::launch(llama({{1, 8192}, {1, 100}}), kA100);
  const FlashForward& f = launch.forward;
  ASSERT_GT(f.most_splits, 1);
  std::int64_t empty = 0;
  for (const FlashForward::Cta& c : all_ctas(f)) empty += c.sequence == 1 && c.steps == 0;
  EXPECT_EQ(empty, 8 * (f.most_splits - 1)) << "one tile, one split";
  const Traffic t = traffic_of(f);
  EXPECT_EQ(t.written_of(Tensor::o_partial), std::int64_t{2} * 32 * f.most_splits * 128 * 4);
  EXPECT_EQ(traffic_of(*launch.combine).read_of(Tensor::o_partial), t.written_of(Tensor::o_partial));
}

TEST(FlashProgram, Fa2CopiesAroundAPackedDecode) {
  const auto copies = [](AttentionProblem p) {
    const FlashLaunch launch = fa2::launch(p, kA100);
    return std::pair(launch.copies_before.size(), launch.copies_after.size());
  };
  const auto batch = [](int n, std::int64_t keys) {
    return std::vector<AttentionSequence>(static_cast<std::size_t>(n), {1, keys});
  };
  EXPECT_EQ(copies(llama(batch(64, 512))), std::pair(1ul, 2ul)) << "Q, then O and the log-sum-exps";
  EXPECT_EQ(copies(llama(batch(2, 8192))), std::pair(1ul, 1ul))
      << "split: the combine kernel writes the latter";
  EXPECT_EQ(copies(llama(batch(1, 8192))), std::pair(0ul, 1ul)) << "one sequence is packed in place";
  AttentionProblem p = llama(batch(64, 512));
  p.window = 1 << 20;
  EXPECT_EQ(copies(p), std::pair(0ul, 0ul)) << "any window: heads are not packed";
  p.window = 0, p.kv_heads = 32;
  EXPECT_EQ(copies(p), std::pair(0ul, 0ul)) << "no groups";
  EXPECT_EQ(copies(llama({{1, 512}, {2, 512}})), std::pair(0ul, 0ul)) << "a prefill token: no packing";
  EXPECT_EQ(copies(llama({{1, 512}, {0, 512}})), std::pair(0ul, 0ul)) << "packing needs one query of each";
}

TEST(FlashProgram, DenseFa2TilesBySharedMemoryAndMask) {
  const auto shape = [](int d, bool causal, const FlashCard& card) {
    const FlashForward f = fa2::launch(dense(16, 16, 4096, d, causal, 8), card).forward;
    return std::tuple(f.tile.m, f.tile.n, f.resources().threads, f.resources().smem_bytes / 1024);
  };
  EXPECT_EQ(shape(64, false, kA100), std::tuple(128, 128, 128, 48));
  EXPECT_EQ(shape(128, true, kA100), std::tuple(128, 64, 128, 64));
  EXPECT_EQ(shape(128, true, kL40s), std::tuple(64, 64, 128, 48));
  EXPECT_EQ(shape(128, false, kL40s), std::tuple(128, 32, 128, 48));
  EXPECT_EQ(shape(256, true, kA100), std::tuple(128, 64, 256, 128));
  EXPECT_EQ(shape(256, true, kH100), std::tuple(64, 64, 128, 96));
  EXPECT_EQ(shape(96, true, kL40s), std::tuple(64, 64, 128, 36));
}

TEST(FlashProgram, DenseFa3LongestFirstInSectionsThatFitL2) {
  const FlashForward f = fa3::launch(dense(16, 16, 16384, 128, true), kH100).forward;
  EXPECT_EQ(f.tile.m, 128);
  EXPECT_EQ(f.tile.n, 128);
  EXPECT_EQ(f.resources().smem_bytes, 160 * 1024);
  EXPECT_EQ(f.resources().threads, 384);
  EXPECT_EQ(f.order(), CtaOrder::work_queue);
  // One head's K and V are 8 MB: four in 32 MB.
  EXPECT_EQ(f.section, 4);
  EXPECT_EQ(f.cta(0).head, 0);
  EXPECT_EQ(f.cta(3).head, 3);
  EXPECT_EQ(f.cta(0).steps, 128);
  EXPECT_EQ(f.cta(4).head, 0);
  EXPECT_EQ(f.cta(4).steps, 127);
  EXPECT_EQ(f.cta(4 * 128).head, 4) << "the next section after all rows of this one";
}

TEST(FlashProgram, DenseFa3WithoutMaskIsStaticAndPersistent) {
  const FlashForward f = fa3::launch(dense(16, 16, 2048, 128, false, 8), kH100).forward;
  EXPECT_EQ(f.tile.n, 176);
  EXPECT_EQ(f.resources().smem_bytes, 208 * 1024);
  EXPECT_EQ(f.order(), CtaOrder::persistent);
  EXPECT_EQ(f.cta(1).first_row, 128);
  EXPECT_EQ(f.cta(16).head, 1);
  EXPECT_EQ(f.cta(16 * 16).sequence, 1);
}

TEST(FlashProgram, DenseFa3PacksHeadsWhereThatFillsRows) {
  // 100 of 128 rows unpacked; packed by 8: 800 of 896, 0.89 against 0.78.
  EXPECT_TRUE(fa3::launch(dense(64, 8, 100, 128, false, 64), kH100).forward.packed);
  EXPECT_FALSE(fa3::launch(dense(64, 8, 128, 128, false, 64), kH100).forward.packed);
}

TEST(FlashProgram, ADenseDecodeOnFa3NeedsNoMaskAndOneWarpgroup) {
  AttentionProblem p = dense(32, 8, 1, 128, true, 64);
  p.sequences.assign(64, {1, 4096});
  const FlashForward f = fa3::launch(p, kH100).forward;
  EXPECT_EQ(f.tile.m, 64);
  EXPECT_EQ(f.tile.n, 176) << "as without a causal mask";
  EXPECT_TRUE(f.packed);
  EXPECT_EQ(f.order(), CtaOrder::persistent);
  EXPECT_EQ(f.most_splits, 1) << "64 x 8 blocks fill the card";
  EXPECT_EQ(f.cta(0).steps, 24);  // ceil(4096 / 176)
}

TEST(FlashProgram, CombineRowsOfFa3ByTheWidthOfV) {
  for (const auto& [width, rows] : {std::pair{64, 16}, {96, 8}, {128, 8}, {256, 8}}) {
    AttentionProblem p = dense(8, 8, 1, width, true);
    p.sequences = {{1, 32768}};
    const FlashLaunch launch = fa3::launch(p, kH100);
    ASSERT_TRUE(launch.combine.has_value());
    EXPECT_EQ(launch.combine->rows_per_cta, rows);
  }
}

TEST(FlashProgram, PagedFa3SplitsEachSequenceByItsLength) {
  const FlashLaunch launch = fa3::launch(llama({{1, 65536}, {1, 4096}, {1, 100}}), kH100);
  const FlashForward& f = launch.forward;
  EXPECT_EQ(f.tile.m, 64) << "four packed rows: one warpgroup";
  // 512 + 32 + 1 tiles, 8 KV heads: ceil(1.1 x 8 x 545 / 132) = 37 tiles a CTA.
  EXPECT_EQ(f.splits, (std::vector<std::int32_t>{14, 1, 1}));
  EXPECT_EQ(f.ctas(), 8 * 16);
  EXPECT_EQ(f.order(), CtaOrder::work_queue);
  ASSERT_TRUE(launch.combine.has_value());
  EXPECT_EQ(f.most_splits, fa3::kGraphSplits) << "the cap sizes the partial buffers";
  // Per sequence: 32 rows in blocks of 8. The second and third leave at once.
  EXPECT_EQ(launch.combine->ctas(), 3 * 4);
  EXPECT_EQ(launch.combine->cta(0).steps, 14);
  EXPECT_EQ(launch.combine->cta(4).rows, 0);
  const Traffic main = traffic_of(f), combine = traffic_of(*launch.combine);
  EXPECT_EQ(main.written_of(Tensor::o_partial), 14 * 32 * 128 * 4);
  EXPECT_EQ(combine.read_of(Tensor::o_partial), main.written_of(Tensor::o_partial));
  EXPECT_EQ(main.written_of(Tensor::o) + combine.written_of(Tensor::o), 3 * 32 * 128 * 2);
}

TEST(FlashProgram, PagedFa3TakesTheLastRowsFirst) {
  const FlashForward f = fa3::launch(llama({{512, 512}, {300, 2000}}), kH100).forward;
  EXPECT_EQ(f.tile.m, 128);
  // 512 x 4 packed rows are 16 blocks, 300 x 4 ten.
  EXPECT_EQ(f.ctas(), (16 + 10) * 8);
  EXPECT_EQ(f.cta(0).first_row, 15 * 128);
  EXPECT_EQ(f.cta(7).head, 7);
  EXPECT_EQ(f.cta(8).first_row, 14 * 128);
  EXPECT_EQ(f.cta(16 * 8).sequence, 1);
  EXPECT_EQ(f.cta(16 * 8).rows, 300 * 4 - 9 * 128);
}

// hopper/block.h: the first key a row block's window holds is where its tiles begin, page or not.
TEST(FlashProgram, TilesOfAWindowOnFa3BeginWithTheWindow) {
  AttentionProblem p = llama({{1024, 1024}});
  p.q_heads = p.kv_heads = 8, p.window = 128;
  const FlashForward f = fa3::launch(p, kH100).forward;
  // Rows 512 to 639 see keys 385 to 639: 255 keys in two tiles of 128, where tiles counted from key 0 are
  // three.
  FlashForward from_zero = f;
  from_zero.tiles_from_window = false;
  const FlashForward::Cta c = f.cta_at(0, 0, 4, 0);
  EXPECT_EQ(c.first_key, 385);
  EXPECT_EQ(c.steps, 2);
  EXPECT_EQ(from_zero.cta_at(0, 0, 4, 0).steps, 2 + 0) << "384 to 639 end on tiles by chance";
  EXPECT_EQ(from_zero.cta_at(0, 0, 4, 0).first_key, 0);
  p.window = 130;
  EXPECT_EQ(fa3::launch(p, kH100).forward.cta_at(0, 0, 4, 0).steps, 3) << "257 keys";
  EXPECT_EQ(fa2::launch(p, kA100).forward.cta_at(0, 0, 8, 0).steps, 3) << "64 rows, 383 to 575, from key 0";
}

// tile_scheduler.hpp of vLLM's fork: heads whose keys fit 8 MB together run side by side, longest rows first.
TEST(FlashProgram, LongPromptsOnPagedFa3RunByPartsOfTheHeads) {
  // 4,096 keys are 32 tiles of 64 KB: 128 tiles hold four heads.
  const FlashForward f = fa3::launch(llama({{4096, 4096}}), kH100).forward;
  ASSERT_EQ(f.splits, std::vector<std::int32_t>{1});
  EXPECT_EQ(f.section_tiles, 128);
  EXPECT_EQ(f.cta(3).head, 3);
  EXPECT_EQ(f.cta(4).head, 0);
  EXPECT_EQ(f.cta(4).first_row, 126 * 128);
  EXPECT_EQ(f.cta(4 * 128).head, 4) << "after all 128 row blocks of the first four";
}

TEST(FlashProgram, SequencesWithoutKeysOnlyWriteZeros) {
  for (const FlashLaunch& launch :
       {fa2::launch(llama({{3, 0}}), kA100), fa3::launch(llama({{3, 0}}), kH100)}) {
    const Traffic t = traffic_of(launch.forward);
    EXPECT_EQ(t.read_bytes(), 0);
    EXPECT_EQ(t.written_of(Tensor::o), 3 * 32 * 128 * 2);
    EXPECT_EQ(t.mma_flops, 0);
  }
}

TEST(FlashProgram, HalfTheBytesWithAnFp8Cache) {
  AttentionProblem p = llama({{1, 4096}, {1, 4096}});
  const std::int64_t bf16 = traffic_of(fa3::launch(p, kH100).forward).read_of(Tensor::k);
  p.kv_element_bytes = 1;
  const FlashLaunch fp8 = fa3::launch(p, kH100);
  EXPECT_EQ(2 * traffic_of(fp8.forward).read_of(Tensor::k), bf16);
  EXPECT_EQ(fp8.forward.tile.n, 96);  // one query a sequence: the small fp8 tile
}

}  // namespace
}  // namespace tessera
