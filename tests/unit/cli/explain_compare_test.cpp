// `explain kv --compare` and `explain kv-claims`: columns that follow from one another, rows in the order
// asked.
#include <gtest/gtest.h>

#include <cmath>

#include "sim/cli/commands.hpp"
#include "tests/support/captured.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

ExplainOptions compare(const std::vector<std::string>& shapes) {
  ExplainOptions o;
  o.what = "kv";
  o.model = "llama-3.1-8b";
  o.gpu = "h100-sxm";
  o.compare = shapes;
  o.json = true;
  return o;
}
Json rows_of(const ExplainOptions& o) {
  return test::captured([&] { return explain_command(o); }).json();
}
std::string complaint_of(const ExplainOptions& o) {
  return test::complaint([&] { return explain_command(o); });
}

// Llama-3.1-8B: 32 layers x 8 heads x 128 x K and V x 2 bytes = 131,072 a token.
TEST(ExplainCompare, ShapesHaveTheBytesTheirMethodsSay) {
  const std::pair<const char*, double> shapes[] = {
      {"base", 131'072},
      {"mqa", 131'072 / 8.0},         // one head for all
      {"cla-2", 131'072 / 2.0},       // two layers share
      {"mqa+cla-2", 131'072 / 16.0},  // both
      {"base+fp8", 131'072 / 2.0},    // one byte a number
      {"mqa+cla-2+fp8", 131'072 / 32.0},
  };
  for (const auto& [shape, bytes] : shapes)
    EXPECT_EQ(rows_of(compare({shape}))[0]["bytes_per_token"].get<double>(), bytes) << shape;
}

TEST(ExplainCompare, ColumnsFollowFromOneAnother) {
  ExplainOptions o = compare({"base", "mqa", "local-5-1024", "kivi-2"});
  o.context = "4k,32k";
  for (const Json& row : rows_of(o)) {
    const auto whole = [&row](const char* key) { return row[key].get<std::int64_t>(); };
    EXPECT_EQ(whole("max_batch"), whole("kv_memory_bytes") / whole("seat_bytes")) << row;
    EXPECT_EQ(whole("batch"), std::min<std::int64_t>(whole("max_batch"), 256)) << row;
    EXPECT_DOUBLE_EQ(row["decode_tokens_s"],
                     static_cast<double>(whole("batch")) / row["step_ms"].get<double>() * 1000);
    EXPECT_GE(whole("seat_bytes"), whole("bytes_at_context")) << "whole blocks: " << row;
    const double shares = row["attention_share"].get<double>() + row["weight_share"].get<double>();
    EXPECT_GT(shares, 0) << row;
    EXPECT_LE(shares, 1) << row;
  }
}

TEST(ExplainCompare, RowsAreContextsThenBatchesThenShapes) {
  ExplainOptions o = compare({"base", "mqa"});
  o.context = "1k,2k";
  o.batches = {1, 8};
  const Json rows = rows_of(o);
  ASSERT_EQ(rows.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(rows[i]["context"], i < 4 ? 1024 : 2048);
    EXPECT_EQ(rows[i]["batch"], i % 4 < 2 ? 1 : 8);
    EXPECT_EQ(rows[i]["shape"], i % 2 == 0 ? "base" : "mqa");
  }
}

TEST(ExplainCompare, SeatsBoundTheBatchAndABatchAskedForRaisesThem) {
  ExplainOptions o = compare({"mqa"});
  o.seats = 10;
  EXPECT_EQ(rows_of(o)[0]["batch"], 10);
  EXPECT_NE(rows_of(o)[0]["reason"].get<std::string>().find("seats end the batch"), std::string::npos);
  o.batches = {20};
  EXPECT_EQ(rows_of(o)[0]["batch"], 20);
}

TEST(ExplainCompare, WhatDoesNotFitIsARowWithItsReasonBesideTheOthers) {
  ExplainOptions o = compare({"base", "mqa"});
  o.batches = {256};
  o.context = "16k";  // 256 x 2 GiB of base, 256 x 256 MiB of mqa: neither; of 80 GB
  for (const Json& row : rows_of(o)) {
    EXPECT_NE(row["refusal"].get<std::string>().find("a batch of 256 does not fit"), std::string::npos)
        << row;
    EXPECT_FALSE(row.contains("step_ms"));
  }
  o.context = "2k";  // 32 MiB each: 8 GiB of mqa do
  const Json rows = rows_of(o);
  EXPECT_TRUE(rows[0].contains("refusal")) << "64 GiB beside 15 GiB of weights";
  EXPECT_FALSE(rows[1].contains("refusal"));
}

TEST(ExplainCompare, ContextsAreCheckedOneByOne) {
  ExplainOptions o = compare({"base"});
  for (const char* contexts : {"4k,", ",4k", "0", "4k,0", "2000000000", "4k;8k"}) {
    o.context = contexts;
    EXPECT_NE(complaint_of(o).find("--context"), std::string::npos) << contexts;
  }
}

TEST(ExplainCompare, AShapeThatIsNotKnownIsAnsweredWithTheNearest) {
  EXPECT_NE(complaint_of(compare({"base", "cal-2"})).find("did you mean"), std::string::npos);
  EXPECT_NE(complaint_of(compare({""})), "no error");
}

TEST(ExplainClaims, EveryRowComparesItsTwoSidesAndNamesTheSource) {
  ExplainOptions o;
  o.what = "kv-claims";
  o.json = true;
  const Json rows = rows_of(o);
  ASSERT_GT(rows.size(), 3u);
  for (const Json& row : rows) {
    EXPECT_FALSE(row["claim"].get<std::string>().empty());
    EXPECT_FALSE(row["assumes"].get<std::string>().empty()) << row["id"];
    if (!row["refusal"].get<std::string>().empty()) continue;
    const double ours = row["ours"], baseline = row["baseline"], factor = row["factor"];
    EXPECT_TRUE(std::abs(factor - ours / baseline) < 1e-9 * factor ||
                std::abs(factor - baseline / ours) < 1e-9 * factor)
        << row["id"] << ": the factor is of the two figures shown";
  }
}

// Bytes over time of nothing are no number to print.
TEST(ExplainMovement, AModelWithoutKeysAndValuesHasNothingToMoveOrShare) {
  for (const char* what : {"tier", "swap", "cascade"}) {
    ExplainOptions o = compare({});
    o.what = what;
    o.overrides = {"model.kinds=[{name: full, mixer: none}]"};
    EXPECT_NE(complaint_of(o).find("stores no keys and values"), std::string::npos)
        << what << complaint_of(o);
  }
}

}  // namespace
}  // namespace tessera
