// Kernels that only move rows, and streaming kernels.
#include <gtest/gtest.h>

#include <map>

#include "kernels/tiles/attention_totals.hpp"
#include "kernels/tiles/elementwise_program.hpp"
#include "kernels/tiles/row_programs.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {
namespace {

// Remembers every tile.
struct Recorder {
  std::vector<TileRef> loads, stores;
  void load(const TileRef& r) { loads.push_back(r); }
  void store(const TileRef& r) { stores.push_back(r); }
  void mma(std::int64_t, std::int64_t, std::int64_t) {}
  void exp(std::int64_t) {}
  void alu(std::int64_t) {}
};

TEST(KvWriteProgram, PutsEachTokenBehindItsSequence) {
  AttentionProblem p;
  p.q_heads = 8, p.kv_heads = 2;
  p.head_dim = p.v_head_dim = 64;
  p.kv_element_bytes = 1;
  p.page_tokens = 16;
  p.sequences = {{3, 10}, {0, 5}, {1, 1}};
  const KvWrite write(p);
  ASSERT_EQ(write.ctas(), 4);
  EXPECT_EQ(write.resources().threads, 128);
  EXPECT_EQ(write.cta(0).position, 7);
  EXPECT_EQ(write.cta(2).position, 9);
  EXPECT_EQ(write.cta(3).sequence, 2);
  EXPECT_EQ(write.cta(3).position, 0);
  Recorder r;
  walk(write, r);
  EXPECT_EQ(r.loads.size(), 8u);
  ASSERT_EQ(r.stores.size(), 4u * 2 * 2);
  EXPECT_EQ(r.stores.back().plane, 2 * 2 + 1);
  const Traffic t = traffic_of(write);
  EXPECT_EQ(t.read_of(Tensor::k_new), 4 * 2 * 64 * 2);
  EXPECT_EQ(t.written_of(Tensor::v), 4 * 2 * 64) << "stored as one byte";
  EXPECT_EQ(t.read, totals_of(write).read);
  EXPECT_EQ(t.written, totals_of(write).written);
}

TEST(KvWriteProgram, ThreadsStopAt512) {
  AttentionProblem p;
  p.kv_heads = p.q_heads = 8;
  EXPECT_EQ(KvWrite(p).resources().threads, 512);
}

TEST(RowCopyProgram, CutsTheSameRowsIntoPlanesOfTwoHeights) {
  // 10 rows of 128: 4 a CTA; planes of 10 rows in, of 3 rows out.
  const RowCopy copy{Tensor::q_input, Tensor::q, 10, 128, 10, 3, 2};
  ASSERT_EQ(copy.ctas(), 3);
  Recorder r;
  walk(copy, r);
  ASSERT_EQ(r.loads.size(), 3u);
  EXPECT_EQ(r.loads[2].row, 8);
  EXPECT_EQ(r.loads[2].rows, 2);
  std::map<std::int64_t, std::int64_t> rows;  // of each plane
  for (const TileRef& s : r.stores) rows[s.plane] += s.rows;
  EXPECT_EQ(rows, (std::map<std::int64_t, std::int64_t>{{0, 3}, {1, 3}, {2, 3}, {3, 1}}));
  EXPECT_EQ(traffic_of(copy).bytes(), 2 * 10 * 128 * 2);
}

TEST(RowCopyProgram, RowsWiderThanACtaGoOneByOne) {
  const RowCopy copy{Tensor::input, Tensor::output, 3, 4096, 3, 3, 2};
  EXPECT_EQ(copy.ctas(), 3);
  EXPECT_EQ(traffic_of(copy).read_bytes(), 3 * 4096 * 2);
}

TEST(ElementwiseTile, MovesEveryElementOnceAndTheLastChunkOnlyWhatIsLeft) {
  const ElementwiseProgram gated{.elements = 5000, .inputs = 2, .ops_per_element = 3};
  EXPECT_EQ(gated.chunk_elements(), 2048);  // 256 threads x 16 bytes
  EXPECT_EQ(gated.ctas(), 3);
  EXPECT_EQ(gated.cta(2).elements, 5000 - 2 * 2048);
  const Traffic t = traffic_of(gated);
  EXPECT_EQ(t.read_of(Tensor::input), 2 * 5000 * 2);
  EXPECT_EQ(t.written_of(Tensor::output), 5000 * 2);
  EXPECT_EQ(t.alu_ops, 3 * 5000);
}

TEST(NormTile, ReadsARowOnceAndWritesTheSumBack) {
  const Traffic plain = traffic_of(NormProgram{.rows = 7, .hidden = 4096});
  EXPECT_EQ(plain.read_of(Tensor::input), 7 * 4096 * 2);
  EXPECT_EQ(plain.read_of(Tensor::weight), 7 * 4096 * 2) << "by every row; L2 keeps it";
  EXPECT_EQ(plain.written_bytes(), 7 * 4096 * 2);
  const Traffic fused = traffic_of(NormProgram{.rows = 7, .hidden = 4096, .residual = true});
  EXPECT_EQ(fused.read_of(Tensor::input), 2 * plain.read_of(Tensor::input));
  EXPECT_EQ(fused.written_bytes(), 2 * plain.written_bytes());
  EXPECT_EQ(NormProgram{.hidden = 100}.resources().threads, 128);
  EXPECT_EQ(NormProgram{.hidden = 8192}.resources().threads, 1024);
}

TEST(CountingWalk, AnAtomicAddReadsWhatItChanges) {
  CountingVisitor counter;
  counter.store({.tensor = Tensor::c,
                 .accumulate = true,
                 .rows = 4,
                 .cols = 8,
                 .plane = 0,
                 .row = 0,
                 .col = 0,
                 .element_bytes = 4});
  EXPECT_EQ(counter.traffic.read_of(Tensor::c), 128);
  EXPECT_EQ(counter.traffic.written_of(Tensor::c), 128);
}

}  // namespace
}  // namespace tessera
