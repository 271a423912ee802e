// What one rank holds: published parameter counts, exact bytes, and refusals with a reason.
#include "models/parallel/partition.hpp"

#include <gtest/gtest.h>

#include <map>

#include "models/base/error.hpp"

namespace tessera {
namespace {

RankModel rank_of(const std::string& name, const Parallel& parallel = {}) {
  return partition(load_model(name), parallel, DType::bf16);
}
Parallel ways(std::int64_t tp, std::int64_t ep = 1) { return {.tp = tp, .ep = ep}; }

// Totals of the checkpoints' safetensors metadata on the Hugging Face hub (text model, no MTP layer).
TEST(Partition, ParameterCountsAreTheCheckpointsOwn) {
  const std::map<std::string, std::int64_t> published{
      {"llama-3.1-8b", 8'030'261'248},     {"llama-3.1-70b", 70'553'706'496},
      {"llama-3.1-405b", 405'853'388'800}, {"llama-2-7b", 6'738'415'616},
      {"llama-2-70b", 68'976'648'192},     {"mistral-7b-v0.1", 7'241'732'096},
      {"mixtral-8x7b", 46'702'792'704},    {"qwen2.5-7b", 7'615'616'512},
      {"qwen3-8b", 8'190'735'360},         {"qwen3-32b", 32'762'123'264},
      {"qwen3-30b-a3b", 30'532'122'624},   {"gemma-2-27b", 27'227'128'320},
      {"gpt-oss-20b", 20'914'757'184},     {"deepseek-v2-lite", 15'706'484'224},
      {"deepseek-v2", 235'741'434'880},    {"deepseek-v3", 671'026'419'200},
      {"jamba-v0.1", 51'570'323'328},
  };
  for (const auto& [name, count] : published) EXPECT_EQ(rank_of(name).parameters(), count) << name;
}

// Models known by rounded sizes, in billions, as their reports state them.
TEST(Partition, RoundedTotalsMatchTheReports) {
  const std::map<std::string, double> totals{{"gpt-oss-120b", 116.83},
                                             {"qwen3-235b-a22b", 235},
                                             {"mixtral-8x22b", 141},
                                             {"kimi-k2", 1026},
                                             {"glm-5", 744},
                                             {"mimo-v2-flash", 309},
                                             {"opt-66b", 66},
                                             {"opt-175b", 175},
                                             {"nemotron-h-56b", 56},
                                             {"gpt-3-175b", 175},
                                             {"llama-65b", 65.2},
                                             {"phi-3-mini", 3.8},
                                             {"nemotron-3-nano-30b-a3b", 31.6},
                                             {"gemma-3n-e4b", 6.87}};
  for (const auto& [name, total] : totals)
    EXPECT_NEAR(static_cast<double>(rank_of(name).parameters()) * 1e-9, total, 0.01 * total) << name;
}

TEST(Partition, ActiveParametersMatchTheReports) {
  const std::map<std::string, double> active{
      {"gpt-oss-20b", 3.61},  {"gpt-oss-120b", 5.13}, {"deepseek-v3", 37},     {"deepseek-v2", 21},
      {"mixtral-8x7b", 12.9}, {"mixtral-8x22b", 39},  {"qwen3-235b-a22b", 22}, {"glm-5", 40},
      {"mimo-v2-flash", 15},  {"kimi-k2", 32}};
  for (const auto& [name, count] : active)
    EXPECT_NEAR(static_cast<double>(active_parameters(load_model(name))) * 1e-9, count, 0.05 * count) << name;
}

// vLLM logs 14.9888 GiB for this model: weights and the rotary table of 131072 x 128 bf16 numbers.
TEST(Partition, Llama8BWeightsAndBuffersAreWhatVllmLogs) {
  const RankModel rank = rank_of("llama-3.1-8b");
  EXPECT_EQ(rank.weight_bytes(), 2 * 8'030'261'248);
  ASSERT_EQ(rank.buffers.size(), 1u);
  EXPECT_EQ(rank.buffers[0].name, "rope_table");
  EXPECT_EQ(rank.buffer_bytes(), 131072LL * 128 * 2);
  EXPECT_NEAR(static_cast<double>(rank.weight_bytes() + rank.buffer_bytes()) / (1LL << 30), 14.9888, 0.00005);
}

TEST(Partition, RotaryTablesFollowTheModelsRotation) {
  EXPECT_EQ(rank_of("opt-13b").buffer_bytes(), 0);                                  // learned positions
  EXPECT_EQ(rank_of("deepseek-v3").buffer_bytes(), 163840LL * 64 * 2);              // the rotary key only
  EXPECT_EQ(rank_of("gemma-3-27b").buffer_bytes(), 2LL * 131072 * 128 * 2);         // local and global bases
  EXPECT_EQ(rank_of("qwen3.5-35b-a3b").buffer_bytes(), 262144LL * 64 * 2);          // a quarter of each head
  EXPECT_EQ(rank_of("llama-3.1-70b", ways(8)).buffer_bytes(), 131072LL * 128 * 2);  // on every rank
}

TEST(Partition, RanksTogetherHoldTheMatricesOnceAndTheNormsEach) {
  const RankModel whole = rank_of("llama-3.1-70b");
  const RankModel part = rank_of("llama-3.1-70b", ways(8));
  const std::int64_t norms = (2 * 80 + 1) * 8192;
  EXPECT_EQ(8 * (part.parameters() - norms), whole.parameters() - norms);
}

TEST(Partition, ReplicatedHeadsCostWeightsToo) {
  const std::int64_t norms = (2 * 80 + 1) * 8192;
  const std::int64_t kv_projection = 80LL * 2 * 1024 * 8192;
  const RankModel part = rank_of("llama-3.1-70b", ways(16));  // 8 kv heads, each on two ranks
  EXPECT_EQ(16 * (part.parameters() - norms), 70'553'706'496 - norms + kv_projection);
}

TEST(Partition, ExpertsAreSpreadOverExpertParallelRanks) {
  const auto experts = [](const RankModel& rank) {
    std::int64_t sum = 0;
    for (const WeightTensor& tensor : rank.weights)
      sum += tensor.name == "experts" ? tensor.total_parameters() : 0;
    return sum;
  };
  const std::int64_t all = 48LL * 128 * 3 * 2048 * 768;
  EXPECT_EQ(experts(rank_of("qwen3-30b-a3b")), all);
  EXPECT_EQ(experts(rank_of("qwen3-30b-a3b", ways(4))), all / 4);
  EXPECT_EQ(experts(rank_of("qwen3-30b-a3b", ways(4, 4))), all / 4);
  EXPECT_EQ(experts(rank_of("qwen3-30b-a3b", ways(4, 2))), all / 4);
}

TEST(Partition, TheRankSeesItsShareOfTheCache) {
  EXPECT_EQ(rank_of("llama-3.1-70b", ways(8)).kv.bytes_per_token(), 327680 / 8);
  EXPECT_EQ(rank_of("deepseek-v3", ways(8)).kv.bytes_per_token(), 70272);
}

TEST(Partition, WeightPrecisionAppliesToTheLinearLayers) {
  Model model = load_model("llama-3.1-8b");
  model.precision.weights = "fp8";
  const std::int64_t plain = 2 * 128256LL * 4096 + (2 * 32 + 1) * 4096;  // embedding, head, norms
  EXPECT_EQ(partition(model, {}, DType::bf16).weight_bytes(), (8'030'261'248 - plain) + 2 * plain);
}

// 4 bits a weight and 8 bits for each block of 32, in the 24 layers of 32 experts.
TEST(Partition, Mxfp4ExpertsTakeFourAndAQuarterBits) {
  for (const WeightTensor& tensor : rank_of("gpt-oss-20b").weights) {
    if (tensor.name != "experts") continue;
    EXPECT_EQ(tensor.total_parameters(), 24LL * 32 * 3 * 2880 * 2880);
    EXPECT_EQ(tensor.bytes(), tensor.total_parameters() / 32 * 17);
  }
}

TEST(Partition, WhatIsNotModelledIsRefusedWithTheReason) {
  const struct {
    Parallel parallel;
    const char* message;
  } rows[] = {
      {{.pp = 2}, "parallel.pp: 2 is not modelled yet, expected 1"},
      {{.cp = 2}, "parallel.cp: 2 is not modelled yet, expected 1"},
      {{.dp = 4}, "use `replicas` for independent engines"},
      {{.tp = 2, .ep = 4}, "needs ep to divide tp"},
      {{.tp = 2, .ep = 2}, "has no experts"},
      {{.tp = 3}, "tp = 3 and 8 key/value heads"},
  };
  for (const auto& row : rows) {
    try {
      rank_of("llama-3.1-8b", row.parallel);
      ADD_FAILURE() << "expected: " << row.message;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(row.message), std::string::npos) << error.what();
    }
  }
}

TEST(Partition, ParallelIsReadLikeAnyConfig) {
  Parallel parallel;
  read_spec(parse_yaml("tp: 8\nep: 2\n", "p.yaml"), parallel);
  EXPECT_EQ(parallel.ranks(), 8);
  EXPECT_EQ(parallel.ep, 2);
  EXPECT_THROW(read_spec(parse_yaml("tp: 0\n", "p.yaml"), parallel), InputError);
}

// Every shipped model can be taken apart on one GPU and, where 2 divides it, on two.
TEST(Partition, EveryShippedModelPartitions) {
  for (const std::string& name : config_names("models")) {
    const RankModel one = rank_of(name);
    const RankModel two = rank_of(name, ways(2));
    EXPECT_GT(one.parameters(), two.parameters()) << name;
    EXPECT_GE(2 * two.parameters(), one.parameters()) << name;
    EXPECT_GE(2 * two.kv.bytes_per_token(), one.kv.bytes_per_token()) << name;
  }
}

}  // namespace
}  // namespace tessera
