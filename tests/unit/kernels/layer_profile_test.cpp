// Measured layer profiles: interpolated between their points, continued beyond them, and honest about it.
#include "kernels/cost/layer_profile.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <stdexcept>

namespace tessera {
namespace {

TEST(LayerProfileCurve, IsLinearBetweenPoints) {
  Curve curve;
  curve.add(10, 100), curve.add(20, 140), curve.add(40, 160);
  bool in_range = true;
  EXPECT_DOUBLE_EQ(curve.at(10, in_range), 100);
  EXPECT_DOUBLE_EQ(curve.at(15, in_range), 120);
  EXPECT_DOUBLE_EQ(curve.at(30, in_range), 150);
  EXPECT_DOUBLE_EQ(curve.at(40, in_range), 160);
  EXPECT_TRUE(in_range);
}

TEST(LayerProfileCurve, ContinuesItsEndsAndSaysSo) {
  Curve curve;
  curve.add(10, 100), curve.add(20, 140), curve.add(40, 160);
  bool beyond = true, before = true;
  EXPECT_DOUBLE_EQ(curve.at(60, beyond), 180);
  EXPECT_FALSE(beyond);
  EXPECT_DOUBLE_EQ(curve.at(5, before), 80);
  EXPECT_FALSE(before);
  EXPECT_DOUBLE_EQ(curve.at(-1e9, before), 10) << "never through zero: a tenth of the first point";
}

TEST(LayerProfileCurve, OnePointIsAConstant) {
  Curve curve;
  curve.add(8, 42);
  bool at_it = true, elsewhere = true;
  EXPECT_DOUBLE_EQ(curve.at(8, at_it), 42);
  EXPECT_DOUBLE_EQ(curve.at(9, elsewhere), 42);
  EXPECT_TRUE(at_it);
  EXPECT_FALSE(elsewhere);
}

// A plane over the four axes: what a multilinear table must give back exactly.
double plane(double chunk, double history, double decodes, double context) {
  return 5 + 0.01 * chunk + 0.002 * history + 0.5 * decodes + 0.003 * context;
}

LayerProfile profile_of_planes() {
  LayerProfile profile;
  profile.add_dense("qkv", 1, 10);
  profile.add_per_sequence("sampler", 1, 3);
  for (const std::int64_t chunk : {0, 64, 512})
    for (const std::int64_t history : {0, 1024})
      for (const std::int64_t decodes : {0, 1, 32})
        for (const std::int64_t context : {128, 4096})
          if (chunk > 0 || (decodes > 0 && history == 0))
            profile.add_attention(
                {chunk, history, decodes, context,
                 plane(static_cast<double>(chunk), static_cast<double>(history), static_cast<double>(decodes),
                       decodes > 0 ? static_cast<double>(context) : 0)});
  profile.finish();
  return profile;
}

TEST(LayerProfileAttention, APlaneIsGivenBackExactly) {
  const LayerProfile profile = profile_of_planes();
  EXPECT_TRUE(rc::check("multilinear tables hold planes", [&] {
    const double chunk = *rc::gen::inRange(64, 513), history = *rc::gen::inRange(0, 1025);
    const double decodes = *rc::gen::inRange(1, 33), context = *rc::gen::inRange(128, 4097);
    bool in_range = true;
    const double us = profile.attention_us(chunk, history, decodes, context, in_range);
    RC_ASSERT(std::abs(us - plane(chunk, history, decodes, context)) < 1e-9 * us);
    const double alone = profile.attention_us(0, 0, decodes, context, in_range);
    RC_ASSERT(std::abs(alone - plane(0, 0, decodes, context)) < 1e-9 * alone);
    const double prompt = profile.attention_us(chunk, history, 0, 0, in_range);
    RC_ASSERT(std::abs(prompt - plane(chunk, history, 0, 0)) < 1e-9 * prompt);
    RC_ASSERT(in_range);
  }));
}

TEST(LayerProfileAttention, AboveTheGridTheLastSegmentGoesOn) {
  const LayerProfile profile = profile_of_planes();
  bool in_range = true;
  EXPECT_NEAR(profile.attention_us(0, 0, 64, 8192, in_range), plane(0, 0, 64, 8192), 1e-9);
  EXPECT_FALSE(in_range);
}

TEST(LayerProfileAttention, WhatIsMissingIsNamed) {
  const auto problem = [](auto&& fill) -> std::string {
    LayerProfile profile;
    fill(profile);
    try {
      profile.finish();
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(problem([](LayerProfile& p) { p.add_dense("qkv", 1, 1); }).find("decode-only"),
            std::string::npos);
  EXPECT_NE(problem([](LayerProfile& p) {
              p.add_dense("qkv", 1, 1);
              p.add_attention({0, 0, 1, 128, 5});
            }).find("prefill-only"),
            std::string::npos);
  EXPECT_NE(problem([](LayerProfile& p) {
              p.add_attention({0, 0, 1, 128, 5});
              p.add_attention({64, 0, 0, 0, 5});
              p.add_attention({64, 0, 1, 128, 5});
            }).find("dense"),
            std::string::npos);
}

TEST(LayerProfileAttention, AHoleTakesTheValueBelowIt) {
  LayerProfile profile;
  profile.add_dense("qkv", 1, 1);
  profile.add_attention({0, 0, 1, 128, 5});
  profile.add_attention({0, 0, 1, 4096, 9});
  profile.add_attention({0, 0, 32, 128, 7});  // 32 decodes of 4,096 did not fit
  profile.add_attention({64, 0, 0, 0, 5});
  profile.add_attention({64, 0, 1, 128, 5});
  profile.finish();
  bool in_range = true;
  EXPECT_DOUBLE_EQ(profile.attention_us(0, 0, 32, 4096, in_range), 7);
}

}  // namespace
}  // namespace tessera
