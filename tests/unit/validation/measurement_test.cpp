#include "validation/measurement.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>
#include <filesystem>

namespace tessera {
namespace {

constexpr const char* kTable =
    "kernel_source,m,latency_ms,flag\n"
    "cublas,1,0.0025,\n"
    "\n"
    "cublas,16,0.5,slow_outlier\r\n"
    "cutlass,x7,-1,\n";

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Measurement, RowsAreReadByColumnName) {
  const MeasurementTable table = MeasurementTable::parse(kTable, "t.csv");
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table.row(0).text("kernel_source"), "cublas");
  EXPECT_EQ(table.row(0).integer("m"), 1);
  EXPECT_DOUBLE_EQ(table.row(0).latency_us(), 2.5);
  EXPECT_FALSE(table.row(0).flagged());
  EXPECT_TRUE(table.row(1).flagged());
  EXPECT_EQ(table.row(1).text("flag"), "slow_outlier");
  EXPECT_EQ(table.row(1).line(), 4);  // the empty line counts
  EXPECT_EQ(table.row(0).integer_or("window", 7), 7);
  EXPECT_EQ(table.row(1).integer_or("m", 7), 16);
}

TEST(Measurement, ErrorsSayWhere) {
  const MeasurementTable table = MeasurementTable::parse(kTable, "t.csv");
  EXPECT_EQ(error_of([&] { (void)table.row(2).number("m"); }),
            "t.csv:5:9: m: 'x7' is not valid, expected a number");
  EXPECT_EQ(error_of([&] { (void)table.row(2).latency_us(); }),
            "t.csv:5:12: latency_ms: -1 is out of range, expected a positive time");
  EXPECT_EQ(error_of([&] { (void)table.row(1).integer("latency_ms"); }),
            "t.csv:4:11: latency_ms: '0.5' is not valid, expected a whole number");
  EXPECT_EQ(error_of([&] { table.need_columns({"kernel_sorce"}); }),
            "t.csv:1:1: no column 'kernel_sorce', found kernel_source, m, latency_ms, flag, did you mean "
            "'kernel_source'?");
}

TEST(Measurement, TablesThatAreNoneAreRefused) {
  EXPECT_EQ(error_of([] { MeasurementTable::parse("m,latency_ms\n1,2\n1,2,3\n", "t.csv"); }),
            "t.csv:3: 3 cells, expected 2 as in the header");
  EXPECT_NE(error_of([] { MeasurementTable::parse("", "t.csv"); }).find("is empty"), std::string::npos);
  EXPECT_NE(error_of([] { MeasurementTable::parse("m,n\n", "t.csv"); }).find("no column 'latency_ms'"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              MeasurementTable::parse("m,latency_ms\n\"1\",2\n", "t.csv");
            }).find("t.csv:2:1: a quoted"),
            std::string::npos);
  EXPECT_NE(error_of([] { MeasurementTable::load("/nowhere/t.csv.gz"); }).find("cannot be opened"),
            std::string::npos);
}

class MeasurementFile : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ =
      ::testing::TempDir() + "measurement_test_" + std::to_string(::getpid()) + ".csv.gz";
};

TEST_F(MeasurementFile, GzipAndPlainReadTheSame) {
  gzFile out = gzopen(path_.c_str(), "wb");
  gzwrite(out, kTable, static_cast<unsigned>(std::char_traits<char>::length(kTable)));
  gzclose(out);
  EXPECT_EQ(MeasurementTable::load(path_).size(), 3u);
  EXPECT_EQ(MeasurementTable::load(path_).row(1).integer("m"), 16);
  std::FILE* plain = std::fopen(path_.c_str(), "wb");
  std::fputs(kTable, plain);
  std::fclose(plain);
  EXPECT_EQ(MeasurementTable::load(path_).row(1).integer("m"), 16);
}

TEST_F(MeasurementFile, ATornGzipIsAnError) {
  gzFile out = gzopen(path_.c_str(), "wb");
  std::string text = "m,latency_ms\n";
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919 % 10007) + ",1\n";
  gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
  gzclose(out);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  EXPECT_NE(error_of([&] { MeasurementTable::load(path_); }).find("cannot be read"), std::string::npos);
}

TEST(Where, EqualsAnyOfItsValues) {
  const MeasurementTable table = MeasurementTable::parse(kTable, "t.csv");
  const Where where = parse_where("m=16,x7");
  EXPECT_EQ(where.column, "m");
  EXPECT_FALSE(where.holds(table.row(0)));
  EXPECT_TRUE(where.holds(table.row(1)));
  EXPECT_TRUE(where.holds(table.row(2)));
  for (const char* bad : {"m", "=1", "m=", "m=1,", "m=,1"}) EXPECT_THROW(parse_where(bad), InputError) << bad;
}

TEST(HeldOut, TheHashIsFnvThenSplitmix) {
  // FNV-1a of "" is its offset basis, of "a" af63dc4c8601ec8c (its authors' test vectors); the finaliser of
  // splitmix64 is applied here once more by hand.
  const auto finalised = [](std::uint64_t h) {
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return h ^ (h >> 31);
  };
  EXPECT_EQ(stable_hash(""), finalised(0xcbf29ce484222325ULL));
  EXPECT_EQ(stable_hash("a"), finalised(0xaf63dc4c8601ec8cULL));
}

TEST(HeldOut, HalfOfRegularShapesAndOfNeighboursToo) {
  int held_out = 0, alternations = 0;
  bool before = false;
  constexpr int kShapes = 10000;
  for (int i = 0; i < kShapes; ++i) {
    const bool now = is_held_out("gemm " + std::to_string(i) + " 4096 4096");
    held_out += now, alternations += i > 0 && now != before;
    before = now;
  }
  // Five standard deviations of a fair coin.
  EXPECT_NEAR(held_out, kShapes / 2, 250);
  EXPECT_NEAR(alternations, kShapes / 2, 250);
}

}  // namespace
}  // namespace tessera
