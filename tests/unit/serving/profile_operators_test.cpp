// A measured layer profile as a cost source: its files, what each row is counted for, and what is missing.
#include "sim/serving/profile_operators.hpp"

#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

const char* const kDense = "layer,tokens,time_us\n";
const char* const kPerSequence = "layer,sequences,time_us\n";
const char* const kAttention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";

std::string file(const std::string& name, const std::string& text) {
  std::string path = test::scratch(name);
  std::ofstream(path) << text;
  return path;
}

// Times that name where they come from: a projection takes 100 + tokens, a norm 10, embedding 3, and so on.
std::array<std::string, 3> rows() {
  return {std::string(kDense) +
              "qkv_proj,1,101\nqkv_proj,100,200\nlayernorm,1,10\nlayernorm,100,10\nembedding,1,3\n"
              "embedding,100,3\nact_fn,1,7\nact_fn,100,7\n",
          std::string(kPerSequence) + "lm_head,1,20\nlm_head,100,20\nsampler,1,5\nsampler,100,104\n",
          // Decodes cost 1 each and 0.01 a token of context; a chunk 2 a token; together their sum.
          std::string(kAttention) +
              "0,0,1,100,2\n0,0,1,1100,12\n0,0,11,100,12\n0,0,11,1100,22\n"
              "1,0,0,0,2\n1,100,0,0,2\n101,0,0,0,202\n101,100,0,0,202\n"
              "1,0,1,100,4\n101,0,1,100,204\n1,0,11,100,14\n101,0,11,100,214\n"
              "1,0,1,1100,14\n101,0,1,1100,214\n1,0,11,1100,24\n101,0,11,1100,224\n"};
}
LayerProfile profile() {
  const auto [dense, heads, attention] = rows();
  return read_layer_profile(
      {file("dense.csv", dense), file("heads.csv", heads), file("attention.csv", attention)});
}

struct Bench {
  Bench() : rank(partition(load_model("llama-3.1-8b"), {}, DType::bf16)) {
    engine.step_fixed_us = 50;
    engine.graphs.sizes = {{8, 8}, {64, 8}};
    engine.graphs.max_tokens = 64;
    engine.graphs.mixed_steps = false;
    operators = profile_operators(profile(), rank, engine);
  }
  RankModel rank;  // 32 layers
  EngineProfile engine;
  std::unique_ptr<StepOperators> operators;
};
double part(const StepTerms& terms, StepPart which) { return terms.part[static_cast<std::size_t>(which)]; }

TEST(ProfileOperators, LayersCountAsOftenAsAModelHasThem) {
  Bench bench;
  const StepTerms terms = bench.operators->dense(50, false);
  EXPECT_DOUBLE_EQ(part(terms, StepPart::gemm), 32 * 150.0) << "projections";
  EXPECT_DOUBLE_EQ(part(terms, StepPart::elementwise), 32 * (2 * 10 + 7) + 3)
      << "two norms a layer, one embedding";
  EXPECT_DOUBLE_EQ(part(terms, StepPart::host), 50);
  EXPECT_TRUE(terms.in_range);
  EXPECT_FALSE(bench.operators->dense(200, false).in_range);
}

TEST(ProfileOperators, HeadAndSamplerRunOncePerStepForThoseThatSample) {
  Bench bench;
  const StepTerms terms = bench.operators->head(10);
  EXPECT_DOUBLE_EQ(part(terms, StepPart::head), 20);
  EXPECT_DOUBLE_EQ(part(terms, StepPart::sampler), 14);
  EXPECT_EQ(part(bench.operators->head(0), StepPart::head), 0) << "a step that samples nothing has none";
}

TEST(ProfileOperators, AttentionIsOfTheMeanContextInEveryLayer) {
  Bench bench;
  DecodeBatch batch;
  batch.sequences = 6, batch.kv_tokens = 6 * 600;
  EXPECT_DOUBLE_EQ(bench.operators->decode_attention(0, batch).total, 32 * (6 + 6.0));
  const std::vector<PrefillChunk> one{{51, 0}};
  EXPECT_DOUBLE_EQ(bench.operators->prefill_attention(0, one).total, 32 * 102.0);
  EXPECT_DOUBLE_EQ(bench.operators->mixed_attention(0, batch, one).total, 32 * (102 + 12.0));
}

TEST(ProfileOperators, FurtherChunksCostWhatTheyWouldAloneLessTheFloor) {
  Bench bench;
  const std::vector<PrefillChunk> two{{51, 0}, {21, 0}};
  EXPECT_DOUBLE_EQ(bench.operators->prefill_attention(0, two).total, 32 * (102 + 42 - 2.0));
}

TEST(ProfileOperators, OnlyStepsThatAReplayedGraphServesArePadded) {
  Bench bench;
  EXPECT_EQ(bench.operators->padded_tokens(9, false), 16);
  EXPECT_EQ(bench.operators->padded_tokens(9, true), 9) << "prompts run without a graph here";
  bench.engine.graphs.mixed_steps = true;
  EXPECT_EQ(profile_operators(profile(), bench.rank, bench.engine)->padded_tokens(9, true), 16);
}

TEST(LayerProfileFiles, AreKnownByTheirHeader) {
  for (const char* header : {kDense, kPerSequence, kAttention})
    EXPECT_TRUE(is_layer_profile(file("known.csv", header))) << header;
  EXPECT_FALSE(is_layer_profile(file("other.csv", "m,n,k,time_us\n")));
  EXPECT_FALSE(is_layer_profile(file("empty.csv", "")));
}

std::string error_of(const std::string& dense, const std::string& heads, const std::string& attention) {
  try {
    read_layer_profile(
        {file("dense.csv", dense), file("heads.csv", heads), file("attention.csv", attention)});
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(LayerProfileFiles, MistakesNameFileAndLine) {
  const auto [dense, heads, attention] = rows();
  struct {
    std::string dense, heads, attention;
    const char* words;
  } const cases[] = {
      {dense + "qkv_proj,7\n", heads, attention, "dense.csv:10: 2 cells, expected 3 as in the header"},
      {dense + "qkv_proj,7,fast\n", heads, attention,
       "dense.csv:10: 'fast' is not valid, expected a non-negative"},
      {dense + "qkv_proj,7,-1\n", heads, attention, "dense.csv:10: '-1'"},
      {dense + "qkv_proj,7,nan\n", heads, attention, "dense.csv:10: 'nan'"},
      {dense + "qkv_proj,7.5,1\n", heads, attention,
       "dense.csv:10: '7.5' is not valid, expected a whole number"},
      {dense + "qkv_proj,1e300,1\n", heads, attention,
       "dense.csv:10: '1e300' is not valid, expected a whole number"},
      {dense, heads, "chunk,us\n", "attention.csv:1: not a layer profile, expected a header"},
      {dense, "", attention, "heads.csv: is empty, expected a layer profile"},
      {kDense, heads, attention, "incomplete layer profile: no dense operator rows"},
      {dense, heads, kAttention, "incomplete layer profile: the attention table has no rows"},
      {dense, std::string(kPerSequence) + "sampler,1,5\n", attention,
       "incomplete layer profile: no rows of lm_head"},
      {dense, std::string(kPerSequence) + "lm_head,1,5\n", attention,
       "incomplete layer profile: no rows of sampler"},
  };
  for (const auto& c : cases) {
    const std::string message = error_of(c.dense, c.heads, c.attention);
    EXPECT_NE(message.find(c.words), std::string::npos) << "expected: " << c.words << "\nsaid: " << message;
  }
  EXPECT_EQ(error_of(dense, heads, attention), "no error");
}

}  // namespace
}  // namespace tessera
