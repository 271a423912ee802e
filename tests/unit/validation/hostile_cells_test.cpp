// Cells that hold what no measurement is, kernel by kernel: each is refused where it stands.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/support/refusal.hpp"
#include "tests/support/run_data.hpp"
#include "validation/layer_rows.hpp"
#include "validation/record.hpp"
#include "validation/validate.hpp"

namespace tessera {
namespace {

// --- the table ---------------------------------------------------------------------------------------

std::string parse_problem(const std::string& text) {
  return test::refusal([&] { MeasurementTable::parse(text, "t.csv"); });
}

TEST(HostileCells, AColumnThatStandsTwiceIsNoChoiceOfOurs) {
  EXPECT_EQ(parse_problem("m,latency_ms,m\n1,2,3\n"), "t.csv:1:14: column 'm' stands twice, expected once");
  EXPECT_EQ(parse_problem("m,latency_ms, m\n1,2,3\n"), "t.csv:1:14: column 'm' stands twice, expected once");
  EXPECT_EQ(parse_problem("m,latency_ms,,\n1,2,,\n"), "") << "columns without a name are no columns";
}

TEST(HostileCells, RowsOfAnotherWidthAreNamed) {
  EXPECT_EQ(parse_problem("m,latency_ms\n1\n"), "t.csv:2: 1 cells, expected 2 as in the header");
  EXPECT_EQ(parse_problem("m,latency_ms\n\n\n1,2,\n"), "t.csv:4: 3 cells, expected 2 as in the header");
  EXPECT_EQ(parse_problem("\n\r\n"), "t.csv:1:1: is empty, expected a CSV header with latency_ms");
  EXPECT_NE(parse_problem(std::string("\x1f\x8b\0\0", 4)).find("no column 'latency_ms'"), std::string::npos);
}

TEST(HostileCells, NumbersAreWholeCells) {
  const auto number = [](const std::string& cell) {
    const MeasurementTable t = MeasurementTable::parse("x,latency_ms\n" + cell + ",1\n", "t.csv");
    return test::refusal([&] { (void)t.row(0).number("x"); });
  };
  for (const char* cell : {"0", "-1.5", "1e-3", " 2 ", "5."}) EXPECT_EQ(number(cell), "") << cell;
  for (const char* cell :
       {"", "nan", "NaN", "inf", "-inf", "1e999", "1 2", "1ms", "0x10", "+1", "1_000", "--1", "\xc2\xb5"})
    EXPECT_EQ(number(cell), fmt::format("t.csv:2:1: x: '{}' is not valid, expected a number", cell));
}

TEST(HostileCells, ATimeIsMoreThanNothing) {
  const auto time = [](const std::string& cell) {
    const MeasurementTable t = MeasurementTable::parse("m,latency_ms\n1," + cell + "\n", "t.csv");
    return test::refusal([&] { (void)t.row(0).latency_us(); });
  };
  EXPECT_EQ(time("0"), "t.csv:2:3: latency_ms: 0 is out of range, expected a positive time");
  EXPECT_EQ(time("-0.0"), "t.csv:2:3: latency_ms: -0 is out of range, expected a positive time");
  EXPECT_EQ(time("nan"), "t.csv:2:3: latency_ms: 'nan' is not valid, expected a number");
  EXPECT_EQ(time("1e-3"), "");
}

TEST(HostileCells, CountsKnowTheirRange) {
  const MeasurementTable t = MeasurementTable::parse("m,latency_ms\n7,1\n1e16,1\n2.5,1\n", "t.csv");
  EXPECT_EQ(t.row(0).count("m", 7, 7), 7);
  EXPECT_EQ(test::refusal([&] { (void)t.row(0).count("m", 8, 9); }),
            "t.csv:2:1: m: 7 is out of range, expected 8 to 9");
  EXPECT_EQ(test::refusal([&] { (void)t.row(0).count("m", 1, 6); }),
            "t.csv:2:1: m: 7 is out of range, expected 1 to 6");
  EXPECT_EQ(test::refusal([&] { (void)t.row(1).count("m", 1, 6); }),
            "t.csv:3:1: m: '1e16' is not valid, expected a whole number");
  EXPECT_EQ(test::refusal([&] { (void)t.row(2).count("m", 1, 6); }),
            "t.csv:4:1: m: '2.5' is not valid, expected a whole number");
}

TEST(HostileCells, AColumnThatIsNotThereSuggestsOneThatIs) {
  const MeasurementTable t = MeasurementTable::parse("num_gpus,latency_ms\n2,1\n", "t.csv");
  EXPECT_EQ(test::refusal([&] { (void)t.row(0).text("num_gpu"); }),
            "t.csv:1:1: no column 'num_gpu', found num_gpus, latency_ms, did you mean 'num_gpus'?");
  EXPECT_EQ(t.row(0).integer_or("num_gpu", 3), 3);
}

// --- kernels -------------------------------------------------------------------------------------------

struct Spoilt {
  const char* kernel;
  const char* column;
  const char* value;
  const char* mention;
};
void PrintTo(const Spoilt& s, std::ostream* out) { *out << s.kernel << " " << s.column << "=" << s.value; }

struct Good {
  const char* gpu;
  std::vector<std::pair<std::string, std::string>> cells;
};

const Good& good(const std::string& kernel) {
  static const std::map<std::string, Good> rows = {{"gemm",
                                                    {"h100-sxm",
                                                     {{"kernel_source", "cublas"},
                                                      {"gemm_dtype", "bfloat16"},
                                                      {"m", "64"},
                                                      {"n", "1024"},
                                                      {"k", "1024"},
                                                      {"latency_ms", "0.01"}}}},
                                                   {"moe",
                                                    {"h100-sxm",
                                                     {{"kernel_source", "triton"},
                                                      {"moe_dtype", "bfloat16"},
                                                      {"num_tokens", "64"},
                                                      {"hidden_size", "4096"},
                                                      {"inter_size", "1536"},
                                                      {"topk", "8"},
                                                      {"num_experts", "128"},
                                                      {"moe_tp_size", "1"},
                                                      {"moe_ep_size", "4"},
                                                      {"distribution", "power_law_1.2"},
                                                      {"latency_ms", "0.3"}}}},
                                                   {"nccl",
                                                    {"h100-sxm",
                                                     {{"op_name", "all_gather"},
                                                      {"kernel_source", "NCCL"},
                                                      {"nccl_dtype", "half"},
                                                      {"num_gpus", "2"},
                                                      {"message_elements", "4096"},
                                                      {"latency_ms", "0.01"}}}}};
  return rows.at(kernel);
}

MeasurementTable spoilt_table(const std::string& kernel, const std::string& column,
                              const std::string& value) {
  std::string header, row;
  for (const auto& [name, cell] : good(kernel).cells) {
    header += (header.empty() ? "" : ",") + name;
    row += (row.empty() ? "" : ",") + (name == column ? value : cell);
  }
  return MeasurementTable::parse(header + "\n" + row + "\n", "t.csv");
}

std::string validate_problem(const std::string& kernel, const std::string& column, const std::string& value) {
  std::vector<MeasurementTable> tables;
  tables.push_back(spoilt_table(kernel, column, value));
  return test::refusal([&] { validate(kernel_validator(kernel), load_gpu(good(kernel).gpu), tables, {}); });
}

class HostileKernelCell : public testing::TestWithParam<Spoilt> {};

TEST_P(HostileKernelCell, IsRefusedWhereItStands) {
  const Spoilt& s = GetParam();
  EXPECT_EQ(validate_problem(s.kernel, "", ""), "") << "the row itself is one";
  const MeasurementTable table = spoilt_table(s.kernel, s.column, s.value);
  const std::string place = fmt::format("t.csv:2:{}: {}: ", table.row(0).at(s.column).column, s.column);
  const std::string said = validate_problem(s.kernel, s.column, s.value);
  EXPECT_TRUE(said.starts_with(place)) << said;
  EXPECT_NE(said.find(s.mention), std::string::npos) << said;
}

INSTANTIATE_TEST_SUITE_P(
    Cells, HostileKernelCell,
    testing::Values(Spoilt{"gemm", "m", "0", "out of range"}, Spoilt{"gemm", "n", "-1", "out of range"},
                    Spoilt{"gemm", "k", "16777217", "expected 1 to 16777216"},
                    Spoilt{"gemm", "k", "nan", "expected a number"},
                    Spoilt{"gemm", "latency_ms", "-1", "expected a positive time"},
                    Spoilt{"gemm", "latency_ms", "fast", "expected a number"},
                    Spoilt{"moe", "num_tokens", "0", "expected 1 to 1,000,000"},
                    Spoilt{"moe", "num_experts", "1000001", "expected 1 to 1,000,000"},
                    Spoilt{"moe", "topk", "129", "expected at most the 128 of num_experts"},
                    Spoilt{"moe", "moe_ep_size", "3", "does not divide num_experts"},
                    Spoilt{"moe", "distribution", "power_law_", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_0", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_-1", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_inf", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_nan", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_300", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "power_law_1.2x", "expected balanced or power_law_ALPHA"},
                    Spoilt{"moe", "distribution", "uniform", "expected balanced or power_law_ALPHA"},
                    Spoilt{"nccl", "num_gpus", "1", "expected 2 to 1024"},
                    Spoilt{"nccl", "num_gpus", "1025", "expected 2 to 1024"},
                    Spoilt{"nccl", "op_name", "all_gathr", "did you mean 'all_gather'"},
                    Spoilt{"nccl", "message_elements", "0.5", "expected a whole number"}));

// --- layer profiles ----------------------------------------------------------------------------------

std::string profile_problem(const std::string& text) {
  const std::string path = test::scratch("profile.csv");
  std::ofstream(path, std::ios::trunc) << text;
  const std::string said = test::refusal([&] { load_measurements(path); });
  return said.empty() ? said : said.substr(said.find("profile.csv"));
}

// Rows that are no matrix products are left out, but lines stay those of the user's file.
TEST(HostileProfiles, SizesNameTheirOwnLinesAndColumns) {
  const std::string dense = "layer,tokens,time_us\nlayernorm,1,5\n\nqkv_proj,";
  EXPECT_EQ(profile_problem(dense + "-2,5\n"),
            "profile.csv:4:10: tokens: -2 is out of range, expected 1 to 16777216");
  EXPECT_EQ(profile_problem(dense + "0,5\n"),
            "profile.csv:4:10: tokens: 0 is out of range, expected 1 to 16777216");
  EXPECT_EQ(profile_problem(dense + "1.5,5\n"),
            "profile.csv:4:10: tokens: '1.5' is not valid, expected a whole number");
  EXPECT_EQ(profile_problem(dense + "16,nan\n"),
            "profile.csv:4:13: time_us: 'nan' is not valid, expected a number");
  EXPECT_EQ(profile_problem(dense + "16,5\n"), "");
  const std::string attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n\n0,0,8,";
  EXPECT_EQ(profile_problem(attention + "-1,50\n"),
            "profile.csv:3:7: kv_decode: -1 is out of range, expected 0 to 16777216");
  EXPECT_EQ(profile_problem(attention + "99999999,50\n"),
            "profile.csv:3:7: kv_decode: 99999999 is out of range, expected 0 to 16777216");
  EXPECT_EQ(profile_problem(attention + "1023,0\n"),
            "profile.csv:3:12: time_us: 0 is no time, expected more than 0");
}

// --- the record --------------------------------------------------------------------------------------

TEST(HostileRecord, CountsOfRowsAreCounts) {
  const auto said = [](const char* rows, const char* of) {
    RecordedAccuracy line;
    line.gpu = "paper", line.kernel = "gemm", line.errors.rows = 41, line.of = 42;
    std::string csv = to_csv({line});
    csv.replace(csv.find(",41,42,"), 7, fmt::format(",{},{},", rows, of));
    return test::refusal([&] { parse_record(csv, "r.csv"); });
  };
  EXPECT_EQ(said("41", "42"), "");
  EXPECT_NE(said("-1", "42").find("rows: -1 is out of range, expected 0 to 42"), std::string::npos);
  EXPECT_NE(said("43", "42").find("rows: 43 is out of range, expected 0 to 42"), std::string::npos);
  EXPECT_NE(said("0", "-42").find("of: -42 is out of range"), std::string::npos);
  EXPECT_NE(said("many", "42").find("rows: 'many' is not valid"), std::string::npos);
}

TEST(HostileRecord, AnotherHeaderIsNoRecord) {
  std::string csv = to_csv({});
  EXPECT_EQ(parse_record(csv, "r.csv").size(), 0U);
  csv.replace(csv.find("mape"), 4, "rmse");
  EXPECT_TRUE(
      test::refusal([&] { parse_record(csv, "r.csv"); }).starts_with("r.csv:1:1: not an accuracy record"));
}

}  // namespace
}  // namespace tessera
