#include "validation/validate.hpp"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "validation/calibrate.hpp"
#include "validation/folds.hpp"

namespace tessera {
namespace {

// A kernel whose prediction is the column `p` and whose shape is the column `shape`; `fast` rows are
// unsupported.
KernelValidator toy() {
  return {.name = "toy",
          .recognises = [](const MeasurementTable& t) { return t.find_column("p") >= 0; },
          .columns = {"kernel_source", "shape", "p"},
          .covers = [](const Row& r) { return r.text("kernel_source") != "fast"; },
          .fitted = [](const Row&) { return true; },
          .predict =
              [](const Gpu&, const Row& r) {
                OpTime t;
                t.total = r.number("p");
                t.hbm = t.total / 2;
                t.in_range = t.total < 1000;
                return t;
              },
          .shape_key = [](const Row& r) { return std::string(r.text("shape")); },
          .dtype = [](const Row&) { return std::string("bfloat16"); },
          .regime = [](const Row& r) { return std::string(r.number("p") < 50 ? "short" : "long"); },
          .calibrate = [](Gpu&, std::span<const Row>, const FitControl&) { return KernelFit{}; },
          .section = "gemm",
          .source = [](KernelBehaviour& b) -> std::string& { return b.gemm.source; }};
}

// Shapes of either half, found rather than assumed.
std::string shape_of(bool held_out, int nth) {
  for (int i = 0;; ++i) {
    const std::string name = "s" + std::to_string(i);
    if (is_held_out(name) == held_out && nth-- == 0) return name;
  }
}

std::string row(const std::string& source, const std::string& shape, double predicted_us, double measured_us,
                const std::string& flag = "") {
  return source + "," + shape + "," + std::to_string(predicted_us) + "," +
         std::to_string(measured_us * 1e-3) + "," + flag + "\n";
}

MeasurementTable table() {
  return MeasurementTable::parse("kernel_source,shape,p,latency_ms,flag\n" +                //
                                     row("a", shape_of(false, 0), 11, 10) +                 // +10 %
                                     row("a", shape_of(true, 0), 40, 50) +                  // -20 %
                                     row("b", shape_of(true, 1), 130, 100) +                // +30 %
                                     row("b", shape_of(true, 2), 4000, 1000) +              // out of range
                                     row("a", shape_of(false, 1), 99, 1, "slow_outlier") +  //
                                     row("fast", shape_of(false, 2), 99, 1),
                                 "dir/toy.csv.gz");
}

Gpu card(const std::string& source) {
  Gpu g;
  g.name = g.kernels->card = "paper";
  g.kernels->gemm.source = source;
  return g;
}

std::vector<MeasurementTable> one_table() {
  std::vector<MeasurementTable> tables;
  tables.push_back(table());
  return tables;
}

TEST(Validate, FlaggedAndUnsupportedRowsAreCountedNotUsed) {
  const ValidationReport r = validate(toy(), card(""), one_table());
  EXPECT_EQ(r.rows, 6u);
  EXPECT_EQ(r.flagged, 1u);
  EXPECT_EQ(r.unsupported, 1u);
  EXPECT_EQ(r.used.rows, 4u);
  ValidateOptions all;
  all.flagged_too = true;
  EXPECT_EQ(validate(toy(), card(""), one_table(), all).used.rows, 5u);
}

TEST(Validate, RowsAreInSampleHeldOutOrOutOfRange) {
  const ValidationReport r = validate(toy(), card("toy: toy.csv.gz, fitted on 1 rows"), one_table());
  EXPECT_EQ(r.in_sample.rows, 1u);
  EXPECT_NEAR(r.in_sample.median_ape, 10, 1e-3);
  EXPECT_EQ(r.held_out.rows, 2u);
  EXPECT_NEAR(r.held_out.median_ape, 25, 1e-3);
  EXPECT_EQ(r.out_of_range.rows, 1u);
}

TEST(Validate, OnAnotherTableOrABorrowedFitEveryRowIsHeldOut) {
  EXPECT_EQ(validate(toy(), card("toy: other.csv.gz"), one_table()).in_sample.rows, 0u);
  EXPECT_EQ(validate(toy(), card("estimated for paper from x: toy: toy.csv.gz"), one_table()).in_sample.rows,
            0u);
}

TEST(Validate, GroupsAndWorstRows) {
  ValidateOptions options;
  options.worst = 2;
  const ValidationReport r = validate(toy(), card(""), one_table(), options);
  EXPECT_EQ(r.groups.at("kernel_source=a").rows, 2u);
  EXPECT_EQ(r.groups.at("regime=short").rows, 2u);
  EXPECT_NEAR(r.groups.at("kernel_source=a").bias, -5, 1e-3);
  ASSERT_EQ(r.worst.size(), 2u);
  EXPECT_EQ(r.worst[0].line, 5);  // 4 times too slow
  EXPECT_EQ(r.worst[1].line, 4);
  EXPECT_NEAR(r.worst[1].predicted.hbm, 65, 1e-9);
}

TEST(Validate, WhereSelectsRowsAndNoRowsIsAnError) {
  ValidateOptions options;
  options.where = {parse_where("kernel_source=b"), parse_where("p=130.000000")};
  EXPECT_EQ(validate(toy(), card(""), one_table(), options).used.rows, 1u);
  options.where = {parse_where("kernel_source=c")};
  EXPECT_THROW(validate(toy(), card(""), one_table(), options), InputError);
  options.where = {parse_where("colour=c")};
  EXPECT_THROW(validate(toy(), card(""), one_table(), options), InputError);
}

TEST(Validate, JsonHasTheKeysOfTheContract) {
  const auto json = nlohmann::json::parse(to_json(validate(toy(), card(""), one_table())));
  for (const char* key : {"rows", "used", "mape", "median_ape", "p90_ape", "bias", "rank_correlation",
                          "in_sample", "held_out", "out_of_range", "groups", "worst"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["rows"], 6);
  EXPECT_EQ(json["worst"][0]["terms"]["hbm_us"], 2000);
  EXPECT_EQ(json["groups"][0]["by"], "dtype");
}

TEST(Validate, KernelsAreFoundByNameAndByColumns) {
  EXPECT_STREQ(kernel_validator("gemm").name, "gemm");
  try {
    kernel_validator("gem");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'gemm'"), std::string::npos);
  }
  const auto named = [](const char* header) {
    return kernel_of(MeasurementTable::parse(header, "t.csv")).name;
  };
  EXPECT_STREQ(named("gemm_dtype,latency_ms\n"), "gemm");
  EXPECT_STREQ(named("moe_dtype,latency_ms\n"), "moe");
  EXPECT_STREQ(named("nccl_dtype,latency_ms\n"), "nccl");
  EXPECT_STREQ(named("allreduce_dtype,latency_ms\n"), "custom_allreduce");
  EXPECT_THROW(named("x,latency_ms\n"), InputError);
}

// The table source of the toy: GEMMs named by the column `shape` as m.
KernelValidator toy_table() {
  KernelValidator v = toy();
  v.add_to_table = [](KernelTable& t, const Row& r) {
    t.add_gemm(DType::bf16, std::stoll(std::string(r.text("shape")).substr(1)) + 1, 4096, 4096,
               r.latency_us());
  };
  v.look_up = [](const KernelTable& t, const Gpu& gpu, const Row& r) {
    return t.gemm(gpu, {std::stoll(std::string(r.text("shape")).substr(1)) + 1, 4096, 4096, DType::bf16, 6});
  };
  return v;
}

TEST(Folds, NoRowIsPredictedByItself) {
  // Every row has a time of its own, so a table that held it would give it back exactly.
  std::string text = "kernel_source,shape,p,latency_ms\n";
  for (int i = 0; i < 64; ++i)
    text += "a,s" + std::to_string(i) + ",1," + std::to_string(0.05 * (1 + (i * 37 % 11) / 11.0)) + "\n";
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(std::move(text), "toy.csv"));
  ValidateOptions options;
  options.cost = Cost::table;
  options.worst = 64;
  const ValidationReport r = validate(toy_table(), load_gpu("h100-sxm"), tables, options);
  EXPECT_EQ(r.used.rows, 64u);
  EXPECT_EQ(r.in_sample.rows, 0u);
  for (const WorstRow& w : r.worst) EXPECT_NE(w.predicted.total, w.measured_us) << w.shape;
}

TEST(Folds, PartsAreAboutEqual) {
  std::map<int, int> sizes;
  for (int i = 0; i < 1000; ++i) ++sizes[fold_of("s" + std::to_string(i), 5)];
  for (const auto& [fold, size] : sizes) EXPECT_NEAR(size, 200, 45) << fold;
  EXPECT_EQ(sizes.size(), 5u);
}

TEST(Folds, WithoutATableSourceOrEnoughPartsItSaysSo) {
  ValidateOptions options;
  options.cost = Cost::table;
  EXPECT_THROW(validate(toy(), card(""), one_table(), options), InputError);
  options.folds = 1;
  EXPECT_THROW(validate(toy_table(), card(""), one_table(), options), InputError);
}

TEST(Validate, ASampleIsChosenByShapeAndTheWholeIsCounted) {
  std::string text = "kernel_source,shape,p,latency_ms\n";
  for (int i = 0; i < 1000; ++i) text += "a,s" + std::to_string(i) + ",10,0.01\n";
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(std::move(text), "toy.csv"));
  ValidateOptions options;
  options.sample = 100;
  const ValidationReport r = validate(toy(), card(""), tables, options);
  EXPECT_EQ(r.usable, 1000u);
  EXPECT_NEAR(static_cast<double>(r.used.rows), 100, 30);
  EXPECT_EQ(validate(toy(), card(""), tables, options).used.rows, r.used.rows);
}

TEST(Validate, RowsAllFittedOnAreAllInSample) {
  const ValidationReport r = validate(toy(), card("toy: toy.csv.gz, fitted on all 4 rows"), one_table());
  EXPECT_EQ(r.in_sample.rows, 3u);
  EXPECT_EQ(r.held_out.rows, 0u);
}

TEST(Notes, OneKernelsNoteReplacesItsOwnOnly) {
  std::string source;
  const auto put_note = [](std::string& notes, const char* kernel, const char* text) {
    drop_notes(notes, kernel);
    add_note(notes, text);
  };
  put_note(source, "nccl", "nccl: first");
  put_note(source, "custom_allreduce", "custom_allreduce: b");
  put_note(source, "nccl", "nccl: second");
  EXPECT_EQ(source, "custom_allreduce: b | nccl: second");
}

}  // namespace
}  // namespace tessera
