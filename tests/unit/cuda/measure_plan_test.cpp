// Plans: what they accept, the points they give and in which order.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "kernels/measure/plan.hpp"

namespace tessera::measure {
namespace {

std::string refusal(const std::string& text) {
  try {
    points_of(parse_plan(text, "plan.yaml"));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const std::string& text, const std::string& place, const std::string& words) {
  const std::string said = refusal(text);
  EXPECT_TRUE(said.starts_with(place)) << said;
  EXPECT_NE(said.find(words), std::string::npos) << said;
}

TEST(MeasurePlan, AGridIsTheProductOfItsLists) {
  const Plan plan = parse_plan(
      "name: p\n"
      "gemm: [{m: [1, 16], n: [4096, 8192], k: [4096]}]\n"
      "generation_attention: [{batch_size: [1, 8, 64], past_kv_tokens: [1023]}]\n",
      "plan.yaml");
  const std::vector<Point> points = points_of(plan);
  std::map<std::string, int> count;
  std::set<std::string> keys;
  for (const Point& p : points) ++count[p.bench->kernel], keys.insert(p.bench->kernel + p.key());
  EXPECT_EQ(count["gemm"], 4);
  EXPECT_EQ(count["generation_attention"], 3);
  EXPECT_EQ(keys.size(), points.size());
  for (const Point& p : points) {
    ASSERT_EQ(p.cells.size(), p.bench->columns.size());
    if (p.has("isl_tokens")) {
      EXPECT_EQ(p.number("isl_tokens"), 1);
      EXPECT_EQ(p.number("past_kv_tokens"), 1023);
      EXPECT_EQ(p.text("kv_cache_dtype"), "bfloat16");
    }
  }
}

TEST(MeasurePlan, EqualPointsAreMeasuredOnce) {
  const Plan plan =
      parse_plan("name: p\nl2: [{bytes: [16384, 32768]}, {bytes: [32768, 65536]}]\n", "plan.yaml");
  EXPECT_EQ(points_of(plan).size(), 3u);
}

TEST(MeasurePlan, WarmAndColdAreDifferentPoints) {
  const Plan plan = parse_plan(
      "name: p\ngemm: [{m: [1], n: [64], k: [64]}, {m: [1], n: [64], k: [64], copies: 0}]\n", "plan.yaml");
  EXPECT_EQ(points_of(plan).size(), 2u);
}

// Any prefix has every kernel's share of points within one, and sees the far end of a range early.
TEST(MeasurePlan, APrefixCoversEveryKernelAndItsRange) {
  const Plan plan = parse_plan(
      "name: p\n"
      "l2: [{bytes: [16384, 32768, 49152, 65536, 81920, 98304, 114688, 131072]}]\n"
      "sram: [{threads: [32, 64, 96, 128]}]\n",
      "plan.yaml");
  const std::vector<Point> points = points_of(plan);
  ASSERT_EQ(points.size(), 12u);
  int l2 = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    l2 += points[i].bench->kernel == std::string("l2");
    EXPECT_NEAR(l2, 8.0 * static_cast<double>(i + 1) / 12, 1.0) << i;
  }
  std::vector<std::string> order;
  for (const Point& p : points)
    if (p.bench->kernel == std::string("l2")) order.push_back(p.text("bytes"));
  EXPECT_EQ(order, (std::vector<std::string>{"16384", "81920", "49152", "114688", "32768", "98304", "65536",
                                             "131072"}));
}

TEST(MeasurePlan, RefusesWithPlaceAndReason) {
  expect_refused("gemm: []\n", "plan.yaml:1", "name");
  expect_refused("name: p\n", "plan.yaml:1:1", "measures nothing");
  expect_refused("name: p\ngem: [{m: [1], n: [8], k: [8]}]\n", "plan.yaml:2:1", "did you mean 'gemm'");
  expect_refused("name: p\ngemm: [{m: [], n: [8], k: [8]}]\n", "plan.yaml:2:12", "is empty");
  expect_refused("name: p\ngemm: [{n: [8], k: [8]}]\n", "plan.yaml:2", "gemm[0].m: is empty");
  expect_refused("name: p\ngemm: [{m: [0], n: [8], k: [8]}]\n", "plan.yaml:2:13", "from 1 to");
  expect_refused("name: p\ngemm: [{m: [1.5], n: [8], k: [8]}]\n", "plan.yaml:2:13", "whole number");
  expect_refused("name: p\ngemm: [{m: [1], n: [9], k: [8]}]\n", "plan.yaml:2:20", "multiple of 8");
  expect_refused("name: p\ngemm: [{m: [1], n: [8], k: [8], gemm_dtype: [bf16]}]\n", "plan.yaml:2",
                 "expected bfloat16 | float16");
  expect_refused("name: p\ngeneration_attention: [{head_dim: 96, batch_size: [1], past_kv_tokens: [1]}]\n",
                 "plan.yaml:2", "compiled for 64 and 128");
  expect_refused(
      "name: p\ncontext_attention: [{num_heads: 8, num_key_value_heads: 3, batch_size: [1], isl_tokens: "
      "[1]}]\n",
      "plan.yaml:2", "does not divide");
  expect_refused("name: p\nlatency: [{footprint_bytes: [1000], stride_bytes: [64]}]\n", "plan.yaml:2",
                 "from 1024");
  expect_refused("name: p\nin_flight: [{ctas_per_4_sms: [1], loads: [3]}]\n", "plan.yaml:2", "1, 2, 4 or 8");
  expect_refused("name: p\nkv_gather: [{block_bytes: [48], bytes: [4096]}]\n", "plan.yaml:2",
                 "multiple of block_bytes");
  expect_refused("name: p\nsram: [{threads: [32]}]\nsram: []\n", "plan.yaml:3:1", "sram");
}

TEST(MeasurePlan, RefusesAGridOfMillions) {
  std::string many;
  for (int i = 1; i <= 400; ++i) many += (i > 1 ? "," : "") + std::to_string(8 * i);
  EXPECT_NE(
      refusal("name: p\ngemm: [{m: [" + many + "], n: [" + many + "], k: [8]}]\n").find("100000 points"),
      std::string::npos);
}

TEST(MeasurePlan, ShippedPlansAreReadAndHaveKnownSizes) {
  for (const std::string& name : config_names("measure")) {
    const Plan plan = load_plan(name);
    EXPECT_EQ(plan.name, name);
    const std::vector<Point> points = points_of(plan);
    double seconds = 0;
    std::set<std::string> kernels;
    for (const Point& p : points) {
      seconds += estimated_seconds(p, settings_of(plan));
      kernels.insert(p.bench->kernel);
    }
    EXPECT_EQ(kernels.size(), benches().size()) << name << " leaves a kernel out";
    EXPECT_LT(seconds, name == "quick" ? 600 : 7200) << name;
  }
  EXPECT_EQ(config_names("measure"), (std::vector<std::string>{"default", "quick"}));
}

TEST(MeasurePlan, LargerWorkIsExpectedToTakeLonger) {
  const auto of = [](const std::string& grid) {
    const std::vector<Point> points = points_of(parse_plan("name: p\n" + grid, "plan.yaml"));
    return estimated_seconds(points.at(0), Settings{});
  };
  EXPECT_LT(of("hbm: [{operation: [read], bytes: [1048576]}]\n"),
            of("hbm: [{operation: [read], bytes: [1073741824]}]\n"));
  EXPECT_LT(of("gemm: [{m: [16], n: [4096], k: [4096]}]\n"),
            of("gemm: [{m: [16384], n: [8192], k: [8192]}]\n"));
}

}  // namespace
}  // namespace tessera::measure
