// The small parts that the closed forms share: sums of times, physics floors, measured curves, converted
// caches, and the context lengths of a batch.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cost/attention_ctas.hpp"
#include "kernels/cost/kv_convert.hpp"
#include "kernels/cost/measured_curve.hpp"
#include "kernels/cost/op_time.hpp"
#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

OpTime every_term() {
  OpTime t;
  t.total = 1, t.compute = 2, t.hbm = 3, t.l2 = 4, t.link = 5, t.launch = 6, t.host = 7;
  return t;
}
std::vector<double> terms(const OpTime& t) {
  return {t.total, t.compute, t.hbm, t.l2, t.link, t.launch, t.host};
}

TEST(OpTime, SumsAndMultiplesKeepEveryTerm) {
  OpTime sum = every_term();
  sum += every_term() * 10;
  EXPECT_EQ(terms(sum), (std::vector<double>{11, 22, 33, 44, 55, 66, 77}));
  EXPECT_EQ(terms(every_term() * 0), std::vector<double>(7, 0.0));
}

TEST(OpTime, OneTermOutOfRangeMarksTheSum) {
  OpTime inside, outside;
  outside.in_range = false;
  OpTime sum = inside;
  sum += inside;
  EXPECT_TRUE(sum.in_range);
  sum += outside;
  sum += inside;
  EXPECT_FALSE(sum.in_range) << "and stays marked";
  EXPECT_FALSE((outside * 3).in_range);
}

TEST(PhysicsFloor, IsTheLongerOfArithmeticAndMemory) {
  // 2e9 FLOP at 1e15 FLOP/s are 2 us; 6 MB at 2 MB/us are 3 us.
  EXPECT_DOUBLE_EQ(physics_floor_us(2e9, 1e15, 6e6, 2e6), 3);
  EXPECT_DOUBLE_EQ(physics_floor_us(4e9, 1e15, 6e6, 2e6), 4);
  EXPECT_DOUBLE_EQ(physics_floor_us(0, 1e15, 0, 2e6), 0);
  EXPECT_DOUBLE_EQ(physics_floor_us(4e9, 0, 6e6, 2e6), 3) << "a rate that is not known bounds nothing";
}

// --- measured curves ------------------------------------------------------------------------------

TEST(MeasuredCurve, IsLinearInTheLogarithmOfTheSize) {
  MeasuredCurve curve;
  curve.add(1024, -2);
  curve.add(4096, -1);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(2048), -1.5) << "one of two doublings";
  EXPECT_DOUBLE_EQ(curve.log_utilisation(1024), -2);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(4096), -1);
}

TEST(MeasuredCurve, HoldsItsEndsAndSaysWhatItContains) {
  MeasuredCurve curve;
  EXPECT_FALSE(curve.contains(1)) << "nothing is inside an empty curve";
  curve.add(8, -2);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(1), -2);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(1e9), -2);
  curve.add(32, -1);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(1e-3), -2);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(1e9), -1);
  for (const double size : {8.0, 9.0, 32.0}) EXPECT_TRUE(curve.contains(size)) << size;
  for (const double size : {7.9, 32.1}) EXPECT_FALSE(curve.contains(size)) << size;
}

TEST(MeasuredCurve, SizesMeasuredTwiceCountWithTheirMean) {
  MeasuredCurve curve;
  for (const double value : {-3.0, -1.0, -2.0, -2.0}) curve.add(16, value);
  EXPECT_DOUBLE_EQ(curve.log_utilisation(16), -2);
}

RC_GTEST_PROP(MeasuredCurveProperty, StaysBetweenItsNeighboursInAnyOrderOfRows, ()) {
  const auto values = *rc::gen::container<std::vector<int>>(6, rc::gen::inRange(-50, 0));
  MeasuredCurve up, down;
  for (std::size_t i = 0; i < 6; ++i) up.add(std::exp2(i), values[i] / 10.0);
  for (std::size_t i = 6; i-- > 0;) down.add(std::exp2(i), values[i] / 10.0);
  const double size = *rc::gen::inRange(100, 3200) / 100.0;
  const auto below = static_cast<std::size_t>(std::floor(std::log2(size)));
  const double a = values[below] / 10.0, b = values[std::min<std::size_t>(below + 1, 5)] / 10.0;
  const double at = up.log_utilisation(size);
  RC_ASSERT(at == down.log_utilisation(size));
  // One rounding of the interpolation.
  RC_ASSERT(at >= std::min(a, b) - 1e-12 && at <= std::max(a, b) + 1e-12);
}

// --- caches that are converted -------------------------------------------------------------------------

OpTime sixteen_bit() {
  OpTime t;
  t.total = 120, t.compute = 30, t.hbm = 100, t.launch = 5;
  return t;
}

TEST(ConvertedAttention, SavesTheBytesAndPaysTheConversion) {
  // A quarter of the bytes saves 75 of 100 us. 16e6 numbers x 2 operations on 100 SMs x 64 lanes x 1,000 MHz
  // = 6.4e6 operations per us: 5 us.
  const OpTime t = converted_attention_time(paper_gpu(), sixteen_bit(), 80e6, 20e6, 16e6);
  EXPECT_DOUBLE_EQ(t.total, 120 - 75 + 5);
  EXPECT_DOUBLE_EQ(t.hbm, 25);
  EXPECT_DOUBLE_EQ(t.compute, 35);
  EXPECT_DOUBLE_EQ(t.launch, 5);
  EXPECT_FALSE(t.in_range) << "no public table measures such a kernel";
}

TEST(ConvertedAttention, NeverBeatsItsBytesOrItsOperations) {
  OpTime t = sixteen_bit();
  t.total = t.hbm = 100;
  // 99 us saved, but 20 MB at 1,000 GB/s take 20 us.
  EXPECT_DOUBLE_EQ(converted_attention_time(paper_gpu(), t, 2000e6, 20e6, 0).total, 20);
  // 640e6 numbers are 200 us of operations.
  EXPECT_DOUBLE_EQ(converted_attention_time(paper_gpu(), t, 80e6, 0, 640e6).total, 200);
}

TEST(ConvertedAttention, AFormatLargerThan16BitsSavesNothing) {
  const OpTime t = converted_attention_time(paper_gpu(), sixteen_bit(), 80e6, 90e6, 0);
  EXPECT_DOUBLE_EQ(t.total, 120);
  EXPECT_DOUBLE_EQ(t.hbm, 100);
}

RC_GTEST_PROP(ConvertedAttentionProperty, MoreBytesAndMoreNumbersNeverTakeLess, ()) {
  const Gpu gpu = load_gpu(*rc::gen::elementOf(config_names("gpus")));
  const auto stored = static_cast<double>(*rc::gen::inRange(0, 80'000'000));
  const auto numbers = static_cast<double>(*rc::gen::inRange(0, 80'000'000));
  const auto more = static_cast<double>(*rc::gen::inRange(1, 10'000'000));
  const double t = converted_attention_time(gpu, sixteen_bit(), 80e6, stored, numbers).total;
  // Differences of numbers near 100: rounding in the 14th digit.
  RC_ASSERT(converted_attention_time(gpu, sixteen_bit(), 80e6, stored + more, numbers).total >= t - 1e-10);
  RC_ASSERT(converted_attention_time(gpu, sixteen_bit(), 80e6, stored, numbers + more).total >= t - 1e-10);
}

// --- context lengths ---------------------------------------------------------------------------------

TEST(WindowTiles, CountsTheTilesAWindowTouches) {
  EXPECT_EQ(window_tiles(1, 0, 64), 1);
  EXPECT_EQ(window_tiles(64, 0, 64), 1);
  EXPECT_EQ(window_tiles(65, 0, 64), 2);
  EXPECT_EQ(window_tiles(200, 64, 64), 2) << "tokens 136 to 199: tiles 2 and 3";
  EXPECT_EQ(window_tiles(192, 64, 64), 1) << "tokens 128 to 191: tile 2 alone";
  EXPECT_EQ(window_tiles(50, 64, 64), 1) << "a window longer than the context is the context";
}

RC_GTEST_PROP(WindowTilesProperty, EqualWalkingTheTokens, ()) {
  const auto length = *rc::gen::inRange<std::int64_t>(1, 1000);
  const auto window = *rc::gen::inRange<std::int64_t>(0, 1000);
  const auto tile = *rc::gen::element<std::int64_t>(16, 64, 100, 128);
  std::int64_t seen = 0, before = -1;
  for (std::int64_t token = 0; token < length; ++token) {
    if (window > 0 && token < length - window) continue;
    if (token / tile != before) ++seen;
    before = token / tile;
  }
  RC_ASSERT(window_tiles(length, window, tile) == seen);
}

TEST(ContextLengths, TheRestSharesWhatTheLongestLeave) {
  // Contexts 105, 65 and two more of 45 together 260; the longest are given less an offset of 5.
  const std::vector<std::int32_t> longest = {100, 60};
  const DecodeBatch batch{4, 260, longest, 5};
  const ContextLengths lengths(batch, 0);
  EXPECT_EQ(lengths.known(), 2U);
  EXPECT_EQ(lengths.length(0), 105);
  EXPECT_EQ(lengths.longest(), 105);
  EXPECT_EQ(lengths.others(), 2);
  EXPECT_DOUBLE_EQ(lengths.rest(), 45);
  EXPECT_DOUBLE_EQ(lengths.visible(), 260);
  // In a window of 50: 50, 50, 45 and 45.
  EXPECT_DOUBLE_EQ(ContextLengths(batch, 50).visible(), 190);
}

TEST(ContextLengths, WithoutALongestAllAreTheMean) {
  const DecodeBatch batch{3, 100, {}, 0};
  const ContextLengths lengths(batch, 0);
  EXPECT_EQ(lengths.known(), 0U);
  EXPECT_NEAR(lengths.rest(), 100.0 / 3, 1e-12);
  EXPECT_EQ(lengths.longest(), 34) << "a whole number of tokens";
  EXPECT_DOUBLE_EQ(ContextLengths(batch, 10).visible(), 30);
}

TEST(ContextLengths, ALongerListThanTheBatchEndsWithTheBatch) {
  const std::vector<std::int32_t> longest = {30, 20, 10};
  const DecodeBatch batch{2, 50, longest, 0};
  const ContextLengths lengths(batch, 0);
  EXPECT_EQ(lengths.known(), 2U);
  EXPECT_EQ(lengths.others(), 0);
  EXPECT_DOUBLE_EQ(lengths.visible(), 50);
}

// --- lists of CTAs ---------------------------------------------------------------------------------

// The sum of a list's lengths, with its counts, is what the blocks take exactly, however few lengths stand
// for them: 40 chunks pass both limits of the list.
RC_GTEST_PROP(CtaListProperty, BlocksKeepTheirNumberAndTheirWork, ()) {
  const auto chunks = *rc::gen::inRange<std::size_t>(1, 40);
  const double cta_us = 2, tile_us = 0.5;
  CtaList list;
  double ctas = 0, work = 0;
  for (std::size_t i = 0; i < chunks; ++i) {
    CausalBlocks blocks;
    blocks.queries = *rc::gen::inRange<std::int64_t>(1, 5'000);
    blocks.history = *rc::gen::inRange<std::int64_t>(0, 5'000);
    blocks.tile = {128, 64};
    list.add_blocks(blocks, chunks, cta_us, tile_us);
    for (std::int64_t b = 0; b < blocks.row_blocks(); ++b, ++ctas)
      work += cta_us + tile_us * static_cast<double>(blocks.tiles(b));
  }
  double counted = 0, total = 0, before = INFINITY;
  for (const CtaLength& cta : list.sorted()) {
    counted += cta.count, total += cta.count * cta.length;
    RC_ASSERT(cta.length <= before);
    before = cta.length;
  }
  RC_ASSERT(counted == ctas);
  RC_ASSERT(std::abs(total - work) <= 1e-9 * work);
}

}  // namespace
}  // namespace tessera
