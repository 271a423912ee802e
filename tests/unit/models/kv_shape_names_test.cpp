// Cache shapes by name: what each part changes, that parts compose, and what is refused.
#include <gtest/gtest.h>

#include "models/base/error.hpp"
#include "models/transformer/kv_layout.hpp"
#include "models/transformer/kv_shapes.hpp"
#include "models/transformer/weights.hpp"

namespace tessera {
namespace {

ShapedModel shaped(const std::string& shape, const char* model = "llama-3.1-8b") {
  return apply_shape(load_model(model), shape);
}
KvLayout layout(const std::string& shape, const char* model = "llama-3.1-8b") {
  const ShapedModel s = shaped(shape, model);
  return make_kv_layout(s.model, s.precision);
}
std::string error_of(const std::string& shape, const char* model = "llama-3.1-8b") {
  try {
    shaped(shape, model);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}
constexpr std::int64_t kLayer = 2 * 8 * 128 * 2;  // one layer of Llama-3.1-8B, one token

TEST(KvShapeNames, HeadsSetTheEntry) {
  EXPECT_EQ(layout("base").bytes_per_token(), 32 * kLayer);
  EXPECT_EQ(layout("mha").bytes_per_token(), 32 * 4 * kLayer);
  EXPECT_EQ(layout("gqa-2").bytes_per_token(), 32 * kLayer / 4);
  EXPECT_EQ(layout("mqa").bytes_per_token(), 32 * kLayer / 8);
  EXPECT_EQ(layout("mla").bytes_per_token(), 32 * (4 * 128 + 64) * 2);
  EXPECT_EQ(layout("tied").bytes_per_token(), 32 * kLayer / 2);
  EXPECT_EQ(layout("gta").bytes_per_token(), 32 * (8 * 128 + 64) * 2);
}

// A grouped latent is as large as a plain one, but two ranks hold half of it each.
TEST(KvShapeNames, AGroupedLatentIsSharedOutOverRanks) {
  const ShapedModel mla = shaped("mla"), gla = shaped("gla-2");
  EXPECT_EQ(make_kv_layout(gla.model, gla.precision).bytes_per_token(), 32 * 576 * 2);
  EXPECT_EQ(make_kv_layout(mla.model, mla.precision, 2).bytes_per_token(), 32 * 576 * 2);
  EXPECT_EQ(make_kv_layout(gla.model, gla.precision, 2).bytes_per_token(), 32 * (256 + 64) * 2);
}

TEST(KvShapeNames, SharingSetsWhoHolds) {
  EXPECT_EQ(layout("cla-2").bytes_held(5000), 16 * kLayer * 5000);
  EXPECT_EQ(layout("lckv-2").bytes_held(5000), 3 * kLayer * 5000);
  EXPECT_EQ(layout("kvsharer-9").bytes_held(5000), 23 * kLayer * 5000);
  EXPECT_EQ(layout("yoco-1024").bytes_held(5000), kLayer * (5000 + 16 * 1024));
}

TEST(KvShapeNames, RetentionSetsWhatStays) {
  EXPECT_EQ(layout("window-1024").bytes_held(5000), 32 * kLayer * 1024);
  EXPECT_EQ(layout("sinks-4-1020").bytes_held(5000), 32 * kLayer * 1024);
  EXPECT_EQ(layout("local-3-512").bytes_held(5000), kLayer * (24 * 512 + 8 * 5000));
  EXPECT_EQ(layout("chunks-3-512").bytes_held(5000), kLayer * (24 * (4999 % 512 + 1) + 8 * 5000));
  EXPECT_EQ(layout("cascade-4-1024").bytes_held(500'000), 32 * kLayer * (4 + 1024));
  EXPECT_EQ(layout("strided-4-128").bytes_held(5000), 32 * kLayer * (128 + 1250));
  EXPECT_EQ(layout("compressive-5-1000-100").bytes_held(5000), 32 * kLayer * (1000 + 100));
  EXPECT_EQ(layout("infini-2048").state_bytes(), 32 * 8 * 128 * 129 * 2);
}

TEST(KvShapeNames, PartsMultiply) {
  EXPECT_EQ(layout("mqa+cla-2+kivi-4").bytes_per_token(), 2 * 16 * 128 * 5 / 8);
  EXPECT_EQ(layout("window-1024+fp8").bytes_held(5000), 32 * kLayer / 2 * 1024);
  EXPECT_EQ(shaped("mqa+fp8").precision.name, "fp8");
}

TEST(KvShapeNames, WindowModelsCanBeMadeFull) {
  EXPECT_EQ(layout("full", "gemma-3-27b").bytes_held(32768), 31LL << 29);
}

// MQA saves 7 of 8 heads' K and V projections in each layer.
TEST(KvShapeNames, WeightsFollowTheShape) {
  const auto parameters = [](const char* shape) {
    return parameter_count(weight_tensors(shaped(shape).model));
  };
  EXPECT_EQ(parameters("base") - parameters("mqa"), 32LL * 7 * 2 * 128 * 4096);
}

TEST(KvShapeNames, EveryListedPartIsKnown) {
  for (const ShapePart& part : shape_parts()) EXPECT_EQ(std::string(part.syntax).rfind(part.name, 0), 0u);
  for (const KvFormat& format : kv_formats()) EXPECT_EQ(shaped(format.name).precision.name, format.name);
}

TEST(KvShapeNames, MistakesSayWhatIsPossible) {
  EXPECT_NE(error_of("cla").find("shape 'cla': expected cla-K with whole numbers from 1"), std::string::npos);
  EXPECT_NE(error_of("cla-x").find("expected cla-K"), std::string::npos);
  EXPECT_NE(error_of("window-1-2").find("expected window-W"), std::string::npos);
  EXPECT_NE(error_of("mqq").find("did you mean 'mqa'?"), std::string::npos);
  EXPECT_NE(error_of("mqa+").find("shape ''"), std::string::npos);
  EXPECT_NE(error_of("gqa-3").find("3 does not divide the 32 query heads"), std::string::npos);
  EXPECT_NE(error_of("mqa", "deepseek-v3").find("heads share a latent"), std::string::npos);
  EXPECT_NE(error_of("window-64", "jamba-v0.1").find("'mamba' layers are not attention"), std::string::npos);
}

}  // namespace
}  // namespace tessera
