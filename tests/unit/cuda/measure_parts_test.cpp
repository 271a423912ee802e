// Parts of the measuring program that need no card: points and their cells, samples, locks, and the reference
// that results are checked against.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "kernels/host/memory.hpp"
#include "kernels/host/simt.hpp"
#include "kernels/measure/attention_reference.hpp"
#include "kernels/measure/file_lock.hpp"
#include "kernels/measure/point.hpp"
#include "models/base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_data.hpp"

namespace tessera::measure {
namespace {

template <class Action>
std::string problem(Action&& action) {
  try {
    return test::refusal(action);
  } catch (const RunError& error) {
    return error.what();
  }
}

// --- locks -----------------------------------------------------------------------------------------------

TEST(FileLock, OneRunAtATimeWritesATable) {
  const std::string path = test::scratch("table.csv");
  std::filesystem::remove(path);
  std::optional<FileLock> first(std::in_place, path, true);
  EXPECT_TRUE(std::filesystem::exists(path)) << "the lock makes the file";
  EXPECT_EQ(problem([&] { FileLock second(path, false); }),
            path + ": another run is writing it, expected one at a time");
  first.reset();
  EXPECT_EQ(problem([&] { FileLock second(path, false); }), "") << "released with its owner";
  EXPECT_EQ(problem([&] { FileLock third(path, true); }),
            path + ": exists already, expected a new file, or --resume to go on with this one");
}

TEST(FileLock, KeepsWhatTheFileHolds) {
  const std::string path = test::scratch("table.csv");
  std::ofstream(path, std::ios::trunc) << "rows\n";
  { FileLock lock(path, false); }
  EXPECT_EQ(std::filesystem::file_size(path), 5U);
}

TEST(FileLock, SaysWhyAFileCannotBeWritten) {
  EXPECT_NE(problem([] { FileLock lock("/no/such/folder/t.csv", true); }).find("cannot be written: "),
            std::string::npos);
}

// --- points and samples --------------------------------------------------------------------------------

const Bench kToy{"toy", {"bytes", "mode"}, {}, 1e-3, nullptr, nullptr};

TEST(Point, CellsAreFoundByColumn) {
  const Point point{&kToy, {"4096", "graph"}, 2};
  EXPECT_EQ(point.number("bytes"), 4096);
  EXPECT_EQ(point.text("mode"), "graph");
  EXPECT_TRUE(point.has("mode"));
  EXPECT_FALSE(point.has("modes"));
}

TEST(Point, KeysTellCellsAndCopiesApart) {
  const Point a{&kToy, {"4096", "graph"}, 2};
  EXPECT_EQ(a.key(), (Point{&kToy, {"4096", "graph"}, 2}).key());
  EXPECT_NE(a.key(), (Point{&kToy, {"4096", "graph"}, 1}).key());
  EXPECT_NE(a.key(), (Point{&kToy, {"8192", "graph"}, 2}).key());
  EXPECT_NE((Point{&kToy, {"1", "2"}, 0}).key(), (Point{&kToy, {"12", ""}, 0}).key());
}

TEST(PointDeath, ACellThatIsNoNumberIsOurFault) {
  const Point point{&kToy, {"4096", "graph"}, 2};
  EXPECT_DEATH((void)point.number("mode"), "a numeric cell holds a number");
  EXPECT_DEATH((void)point.text("cells"), "a bench asks for its own columns");
}

TEST(Sample, IsWrongBeyondTheToleranceAndWhereItsErrorIsNoNumber) {
  Sample sample;
  EXPECT_FALSE(sample.wrong(kToy)) << "nothing was checked";
  sample.error = 1e-3;
  EXPECT_FALSE(sample.wrong(kToy));
  sample.error = 1.1e-3;
  EXPECT_TRUE(sample.wrong(kToy));
  sample.error = NAN;
  EXPECT_TRUE(sample.wrong(kToy));
}

TEST(Sample, TheWorstOfItsChecksCounts) {
  Sample sample;
  for (const double off : {1e-5, 3e-4, 2e-4}) sample.worse(off);
  EXPECT_EQ(sample.error, 3e-4);
}

TEST(Buffers, ThatDoNotFitAreRefusedWithBothSizes) {
  DeviceInfo device;
  device.memory_bytes = 1'000'000, device.l2_bytes = 100'000;
  Bench::Work work;
  work.footprint = 300'000;
  EXPECT_EQ(sets_of_buffers(device, work, 2), 2) << "600 kB of the 800 kB that may be used";
  EXPECT_NE(problem([&] { sets_of_buffers(device, work, 3); }).find("of memory, the card has"),
            std::string::npos);
  EXPECT_EQ(sets_of_buffers(device, work, 0), 2) << "one past the L2 twice over, and one more";
  work.shared = 600'000;
  EXPECT_NE(problem([&] { sets_of_buffers(device, work, 1); }), "") << "what all sets share counts once";
}

TEST(Buffers, SoSmallThatNoCountPassesTheL2AreRefused) {
  DeviceInfo device;
  device.memory_bytes = std::int64_t{1} << 40, device.l2_bytes = 50'000'000;
  Bench::Work work;
  work.footprint = 1'000;
  EXPECT_NE(problem([&] { sets_of_buffers(device, work, 0); }).find("too small to pass the L2"),
            std::string::npos);
}

// --- the reference -----------------------------------------------------------------------------------------

AttentionProblem problem_of(std::vector<AttentionSequence> sequences) {
  AttentionProblem p;
  p.q_heads = 4, p.kv_heads = 2;
  p.head_dim = p.v_head_dim = 8;
  p.sequences = std::move(sequences);
  return p;
}

TEST(AttentionReference, EqualScoresGiveTheMeanOfTheVisibleValues) {
  AttentionProblem p = problem_of({{4, 10}});
  const auto zero = [](auto...) { return 0.0; };
  const auto position = [](std::int64_t j, int) { return static_cast<double>(j); };
  // Query 1 of 4 stands at position 7 and sees keys 0 to 7, whose mean is 3.5.
  EXPECT_NEAR(attention_row(p, {0, 1, 0}, zero, zero, position)[5], 3.5, 1e-12);
  p.window = 3;  // keys 5, 6 and 7
  EXPECT_NEAR(attention_row(p, {0, 1, 0}, zero, zero, position)[5], 6, 1e-12);
}

TEST(AttentionReference, OneLargeScoreTakesItsValue) {
  const AttentionProblem p = problem_of({{1, 6}});
  const auto one = [](int) { return 1.0; };
  const auto key = [](std::int64_t j, int) {
    return j == 2 ? 1e4 : -1e4;
  };  // exponentials that overflow alone
  const auto value = [](std::int64_t j, int i) { return static_cast<double>(10 * j + i); };
  EXPECT_EQ(attention_row(p, {0, 0, 3}, one, key, value)[7], 27.0);
}

TEST(AttentionReference, ScoresAreScaledByTheRootOfTheHead) {
  // q k = 8 x 1 / sqrt(8): weights 1 and e^sqrt(8).
  const AttentionProblem p = problem_of({{1, 2}});
  const double weight = std::exp(std::sqrt(8.0));
  const auto row = attention_row(
      p, {0, 0, 0}, [](int) { return 1.0; }, [](std::int64_t j, int) { return static_cast<double>(j); },
      [](std::int64_t j, int) { return static_cast<double>(j); });
  EXPECT_NEAR(row[0], weight / (1 + weight), 1e-12);
}

RC_GTEST_PROP(AttentionReferenceProperty, DrawnRowsExistAndBeginWithTheLast, ()) {
  std::vector<AttentionSequence> sequences;
  const auto count = *rc::gen::inRange(1, 6);
  for (int i = 0; i < count; ++i) {
    const auto queries = *rc::gen::inRange<std::int64_t>(0, 5);
    sequences.push_back({queries, queries + *rc::gen::inRange<std::int64_t>(1, 50)});
  }
  sequences.back().queries = std::max<std::int64_t>(1, sequences.back().queries);
  const AttentionProblem p = problem_of(sequences);
  const auto rows = draw_rows(p, 20, *rc::gen::arbitrary<std::uint64_t>());
  RC_ASSERT(!rows.empty() && rows.size() <= 20U);
  RC_ASSERT(rows[0].sequence == count - 1 && rows[0].query == sequences.back().queries - 1);
  for (const AttentionRow& row : rows) {
    RC_ASSERT(row.sequence >= 0 && row.sequence < count && row.head >= 0 && row.head < 4);
    RC_ASSERT(row.query >= 0 && row.query < sequences[static_cast<std::size_t>(row.sequence)].queries);
  }
}

// --- number formats
// -----------------------------------------------------------------------------------------

// Every finite half, ascending, by the definition of the format.
std::vector<double> all_halves(int mantissa_bits, int bias) {
  const int exponents = 1 << (15 - mantissa_bits);
  std::vector<double> values;
  for (int e = 0; e < exponents - 1; ++e)
    for (int m = 0; m < 1 << mantissa_bits; ++m)
      values.push_back(e == 0 ? std::ldexp(m, 1 - bias - mantissa_bits)
                              : std::ldexp((1 << mantissa_bits) + m, e - bias - mantissa_bits));
  return values;
}

// By bisection of all values: the nearer of two neighbours, of equally near ones that with the even mantissa.
float nearest(const std::vector<double>& values, float x) {
  const double size = std::abs(static_cast<double>(x));
  const auto above = std::lower_bound(values.begin(), values.end(), size);
  std::size_t at = static_cast<std::size_t>(above - values.begin());
  if (at == values.size()) {
    const double beyond = 2 * values.back() - values[values.size() - 2];
    return std::copysign(size < (values.back() + beyond) / 2 ? static_cast<float>(values.back()) : INFINITY,
                         x);
  }
  if (values[at] != size) {
    const double up = values[at] - size, down = size - values[at - 1];
    if (down < up || (down == up && at % 2 == 1)) --at;
  }
  return std::copysign(static_cast<float>(values[at]), x);
}

RC_GTEST_PROP(HalvesProperty, RoundToTheNearestOfAllValues, (std::uint32_t seed)) {
  static const std::vector<double> fp16 = all_halves(10, 15), bf16 = all_halves(7, 127);
  RC_ASSERT(fp16.back() == 65504);
  for (std::uint32_t i = 0; i < 200; ++i) {
    const auto x = std::bit_cast<float>(seed * 2'654'435'761U + i * 0x9e37'79b9U);
    if (!std::isfinite(x)) continue;
    // Near the ends of fp16, too: most random floats lie far outside.
    int exponent = 0;
    const float mantissa = std::frexp(x, &exponent);
    for (const float y : {x, std::ldexp(mantissa, static_cast<int>(i % 45) - 27)}) {
      const bool fp16_right = host::rounded(y, host::Format::fp16) == nearest(fp16, y);
      const bool bf16_right = host::rounded(y, host::Format::bf16) == nearest(bf16, y);
      RC_ASSERT(fp16_right);
      RC_ASSERT(bf16_right);
      RC_ASSERT(host::from_half(host::to_half(y, cuda::Float16::fp16), cuda::Float16::fp16) ==
                nearest(fp16, y));
      RC_ASSERT(host::from_half(host::to_half(y, cuda::Float16::bf16), cuda::Float16::bf16) ==
                nearest(bf16, y));
    }
  }
}

TEST(Halves, EveryBitPatternReadsBackAsItself) {
  for (const cuda::Float16 format : {cuda::Float16::fp16, cuda::Float16::bf16})
    for (std::uint32_t bits = 0; bits < 0x1'0000; ++bits) {
      const float value = host::from_half(static_cast<std::uint16_t>(bits), format);
      if (std::isnan(value)) continue;
      ASSERT_EQ(host::to_half(value, format), bits);
    }
}

}  // namespace
}  // namespace tessera::measure
