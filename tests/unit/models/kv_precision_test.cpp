// Bytes and bits of stored formats, worked out by hand.
#include "models/transformer/kv_precision.hpp"

#include <gtest/gtest.h>

#include "models/base/error.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

KvPrecision bf16_based(const char* name) { return parse_kv_precision(name, DType::bf16); }

Model llama_with(const std::string& kv_cache) {
  Yaml tree = load_config("models", "llama-2-7b");
  set_path(tree, "kv_cache", parse_yaml(kv_cache, "--set"), nullptr);
  Model model;
  read_spec(tree, model);
  return model;
}
std::string error_of(const std::string& kv_cache, const char* name = "auto") {
  try {
    resolve_kv_precision(llama_with(kv_cache), name);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(KvPrecision, ScalesAreCountedPerGroup) {
  EXPECT_EQ(bf16_based("int4").k.bytes(8, 128), 8 * (64 + 4));        // one pair a head
  EXPECT_EQ(bf16_based("int4").k.bytes(8, 64), 8 * (32 + 4));         // a short head still needs one
  EXPECT_EQ(bf16_based("nvfp4").v.bytes(8, 128), 8 * (64 + 8));       // eight one-byte scales
  EXPECT_EQ(bf16_based("kivi-2").v.bytes(8, 128), 8 * (32 + 4 * 4));  // four pairs a head
  EXPECT_EQ(bf16_based("kivi-2").k.bytes(8, 128),
            8 * (32 + 128 * 4 / 32));  // a pair per channel and 32 tokens
  EXPECT_EQ(bf16_based("fp8").k.bytes(8, 128), 1024);
  EXPECT_EQ(KvPrecision(DType::bf16).k.bytes(8, 128), 2048);
}

TEST(KvPrecision, APartOfAByteCountsAsOne) { EXPECT_EQ(bf16_based("nvfp4").k.bytes(1, 1), 2); }

// KIVI's keys wait until 128 of them can be scaled together; its values trail by 128.
TEST(KvPrecision, AResidualEmptiesWholeOrSlides) {
  const KvPrecision kivi = bf16_based("kivi-4");
  EXPECT_EQ(kivi.k.full_precision(127), 127);
  EXPECT_EQ(kivi.k.full_precision(128), 0);
  EXPECT_EQ(kivi.k.full_precision(300), 44);
  EXPECT_EQ(kivi.v.full_precision(100), 100);
  EXPECT_EQ(kivi.v.full_precision(300), 128);
  EXPECT_EQ(bf16_based("int4").k.full_precision(300), 0);
}

// Llama-2-7B at 300 tokens: K 256 x 3 bits + 44 x 16, V 172 x 3 bits + 128 x 16, of 32 x 128 x 32 layers.
TEST(KvPrecision, KiviHoldsItsResidualAtSixteenBits) {
  const KvLayout layout = make_kv_layout(load_model("llama-2-7b"), bf16_based("kivi-2"));
  const std::int64_t numbers = 32 * 128 * 32;
  EXPECT_EQ(layout.bytes_held(300), numbers * (256 * 3 + 44 * 16 + 172 * 3 + 128 * 16) / 8);
  EXPECT_EQ(layout.numbers_converted(300), numbers * (256 + 172));
}

// Token 300: 16 bits for K and V, and the value that leaves the residual at 3 bits. Token 384 also empties
// the keys' buffer: 128 tokens at 3 bits.
TEST(KvPrecision, WritesOfAResidualComeInBursts) {
  const KvLayout layout = make_kv_layout(load_model("llama-2-7b"), bf16_based("kivi-2"));
  const std::int64_t numbers = 32 * 128 * 32;
  EXPECT_EQ(layout.decode_write_bytes(300), numbers * (16 + 16 + 3) / 8);
  EXPECT_EQ(layout.decode_write_bytes(384), numbers * (16 + 16 + 3 + 128 * 3) / 8);
  EXPECT_EQ(layout.decode_write_bytes(100), numbers * (16 + 16) / 8);
}

TEST(KvPrecision, SkippedWindowLayersKeepTheModelsFormat) {
  const Model model = load_model("gpt-oss-20b");
  const KvLayout all = make_kv_layout(model, bf16_based("fp8"));
  const KvLayout skip = make_kv_layout(model, bf16_based("fp8-skip-window"));
  EXPECT_EQ(all.groups[0].entry_bytes, 1024);
  EXPECT_EQ(skip.groups[0].entry_bytes, 2048);  // window layers
  EXPECT_EQ(skip.groups[1].entry_bytes, 1024);  // full layers
  EXPECT_EQ(skip.unbounded_bytes_per_token(), all.unbounded_bytes_per_token());
}

// 512 latent numbers at 4.25 bits and the rotary key as it is.
TEST(KvPrecision, ALatentIsQuantisedWithoutItsRotaryKey) {
  const KvLayout layout = make_kv_layout(load_model("deepseek-v3"), bf16_based("int4"));
  EXPECT_EQ(layout.groups[0].entry_bytes, 512 / 2 + 4 * 4 + 64 * 2);
}

TEST(KvPrecision, NativeFormatsConvertNothing) {
  for (const char* name : {"bf16", "fp8", "fp8-skip-window"})
    EXPECT_EQ(make_kv_layout(load_model("llama-2-7b"), bf16_based(name)).numbers_converted(1000), 0) << name;
}

TEST(KvPrecision, TheModelsOwnFormatIsTheDefault) {
  EXPECT_EQ(resolve_kv_precision(llama_with("{format: nvfp4}"), "auto").name, "nvfp4");
  EXPECT_EQ(resolve_kv_precision(llama_with("{format: nvfp4}"), "fp8").name, "fp8");
  EXPECT_EQ(resolve_kv_precision(llama_with("{format: auto}"), "auto").name, "bf16");
}

TEST(KvPrecision, GroupAndResidualAreWhatIfs) {
  const KvPrecision p = resolve_kv_precision(llama_with("{format: kivi-2, group: 64, residual: 32}"), "auto");
  EXPECT_EQ(p.k.effective_bits(128), 2.5);
  EXPECT_EQ(p.v.full_precision(1000), 32);
}

TEST(KvPrecision, MistakesSayWhatIsPossible) {
  EXPECT_NE(error_of("{group: 64}").find("bf16 has no scales per group"), std::string::npos);
  EXPECT_NE(error_of("{format: fp8, residual: 64}").find("fp8 is not quantised in groups"),
            std::string::npos);
  EXPECT_NE(error_of("{format: auto}", "kivi4").find("did you mean 'kivi-4'?"), std::string::npos);
  EXPECT_NE(error_of("{format: auto}", "fp4").find("expected one of auto, bf16"), std::string::npos);
}

}  // namespace
}  // namespace tessera
