// Several answers to a prompt, prefix indices and cascade attention, as whole runs.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/report/requests_csv.hpp"
#include "sim/report/summary.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using test::scratch;
using Json = nlohmann::json;

// Forty requests of two classes and two tenants; 200 tokens of prompt, 60 of answer.
std::string small_trace() {
  const std::string path = scratch("small.csv");
  std::ofstream out(path);
  out << "request_id,arrival_s,input_tokens,output_tokens,prompt_class,tenant\n";
  for (int i = 0; i < 40; ++i)
    out << i << ',' << 0.05 * i << ",200,60," << i % 2 << ',' << i / 20 + 1 << '\n';
  return path;
}

struct Out {
  Json json;
  std::string requests;
  RunResult result;
};

Out run(std::vector<std::string> overrides, bool leap = true) {
  const std::string path = scratch("run.yaml");
  std::ofstream(path) << "gpu: a100-sxm-40g\nmodel: opt-13b\n"
                         "engine: {max_num_batched_tokens: 2048, max_num_seqs: 256}\n"
                         "memory: {kv_blocks: 4000}\n";
  RequestsCsv requests;
  RunHooks hooks;
  hooks.leap = leap;
  hooks.on_request = [&](const RequestRecord& record, std::string_view id) { requests.add(record, id); };
  Out out;
  out.result = simulate(load_run_config(path, overrides, small_trace()), hooks);
  out.json = Json::parse(summary_json(out.result, {}));
  out.requests = requests.text();
  return out;
}

TEST(Sampling, EverySampleIsCountedChargedAndHeld) {
  const Out one = run({}), four = run({"sampling.n=4"});
  EXPECT_EQ(four.json["completed"], 40);
  EXPECT_EQ(four.json["total_output_tokens"], 4 * 40 * 60);
  EXPECT_EQ(four.json["total_input_tokens"], one.json["total_input_tokens"]);
  EXPECT_EQ(four.json["steps"]["decode_tokens"], 4 * 40 * 59);
  EXPECT_GT(four.json["mean_tpot_ms"], one.json["mean_tpot_ms"]);
  EXPECT_LT(four.json["mean_tpot_ms"], 4 * one.json["mean_tpot_ms"].get<double>());
  EXPECT_GT(four.json["kv"]["peak_blocks"], one.json["kv"]["peak_blocks"]);
  EXPECT_LT(four.json["kv"]["peak_blocks"], 4 * one.json["kv"]["peak_blocks"].get<int>());
}

// A lone request of 200 + 60 tokens: 12 full prompt blocks are shared; the thirteenth, half full, is copied
// for three of four. At its end it holds 12 + 4 x (17 - 12) blocks where four alone would hold 4 x 17.
TEST(Sampling, FullPromptBlocksAreSharedAndThePartialOneCopied) {
  const Out four = run({"sampling.n=4", "trace.limit=1"});
  EXPECT_EQ(four.json["kv"]["peak_blocks"], 12 + 4 * (17 - 12));
  EXPECT_EQ(four.json["kv"]["copied_on_write"]["blocks"], 3);
  const Out whole = run({"sampling.n=4", "trace.limit=1", "memory.block_tokens=8"});  // 200 = 25 x 8
  EXPECT_EQ(whole.json["kv"]["copied_on_write"]["blocks"], 0);
  EXPECT_EQ(whole.json["kv"]["peak_blocks"], 25 + 4 * (33 - 25));
}

TEST(Sampling, BeamsShareMoreThanSamplesAndMoreTheLessTheySurvive) {
  double before = run({"sampling.n=4"}).json["kv"]["sharing_saved_fraction"];
  for (const char* survival : {"0.99", "0.9", "0.5"}) {
    const Out beams =
        run({"sampling.n=4", "sampling.mode=beam", std::string("sampling.survival=") + survival});
    EXPECT_EQ(beams.json["completed"], 40);
    EXPECT_GT(beams.json["kv"]["sharing_saved_fraction"], before) << survival;
    EXPECT_GT(beams.json["kv"]["copied_on_write"]["blocks"], 3 * 40);
    before = beams.json["kv"]["sharing_saved_fraction"];
  }
  EXPECT_LT(before, 0.75);
}

TEST(Sampling, ScarceMemoryPreemptsWholeRequestsAndAllComplete) {
  for (const char* mode : {"parallel", "beam"}) {
    const Out out = run({"sampling.n=4", std::string("sampling.mode=") + mode, "memory.kv_blocks=90"});
    EXPECT_EQ(out.json["completed"], 40);
    EXPECT_GT(out.json["kv"]["preemptions"], 0);
    EXPECT_EQ(out.json["total_output_tokens"], 4 * 40 * 60);
  }
}

// Seven requests in 17 blocks: answers of preempted beams are computed again over several chunks, during
// which other beams move. (A beam that moved too early once took blocks that nobody had freed.)
TEST(Sampling, BeamsWaitUntilAllOfTheirAnswersAreThereAgain) {
  const std::string path = scratch("beams.csv");
  std::ofstream(path) << "request_id,arrival_s,input_tokens,output_tokens\n"
                         "a,0.008,42,7\nb,0.011,27,49\nc,0.012,4,44\nd,0.013,29,24\n"
                         "e,0.015,53,43\nf,0.017,9,41\ng,0.019,42,16\n";
  const RunConfig config =
      load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml",
                      {"engine.profile=ideal", "engine.max_num_batched_tokens=13", "engine.max_num_seqs=12",
                       "memory.block_tokens=16", "memory.kv_blocks=17", "sampling.n=4", "sampling.mode=beam",
                       "sampling.survival=0.7"},
                      path);
  const Json json = Json::parse(summary_json(simulate(config), {}));
  EXPECT_EQ(json["completed"], 7);
  EXPECT_GT(json["kv"]["preemptions"], 0);
  EXPECT_GE(json["kv"]["internal_waste_fraction"], 0);
}

TEST(Sampling, WhatCanNeverFitIsRejectedAndTheRestCompletes) {
  const Out out = run({"sampling.n=4", "memory.kv_blocks=30"});  // 12 + 4 x 5 = 32 blocks each
  EXPECT_EQ(out.json["completed"], 0);
  EXPECT_EQ(out.json["rejected"], 40);
  EXPECT_EQ(out.json["rejected_reasons"].begin().key(), "needs more KV blocks than the engine has");
}

TEST(Sampling, EqualRunsGiveEqualBytesSteppingOrLeaping) {
  for (const char* mode : {"parallel", "beam"}) {
    const std::vector<std::string> keys{"sampling.n=3", std::string("sampling.mode=") + mode,
                                        "memory.kv_blocks=200", "engine.profile.cascade=auto"};
    const Out a = run(keys), b = run(keys), c = run(keys, false);
    EXPECT_EQ(a.requests, b.requests);
    EXPECT_EQ(a.requests, c.requests);
    EXPECT_EQ(a.json["kv"], c.json["kv"]);
  }
}

TEST(Sampling, AnotherSeedGivesOtherBeams) {
  const std::vector<std::string> keys{"sampling.n=3", "sampling.mode=beam", "sampling.survival=0.8"};
  std::vector<std::string> other = keys;
  other.push_back("seed=7");
  EXPECT_NE(run(keys).json["kv"]["copied_on_write"], run(other).json["kv"]["copied_on_write"]);
}

TEST(Sampling, WhatDoesNotWorkTogetherIsRefused) {
  for (const char* key : {"memory.allocator=contiguous-oracle", "memory.allocator=vmm",
                          "memory.prefix_cache=radix", "sampling.n=64"}) {
    std::vector<std::string> keys{"sampling.n=4", "engine.max_num_seqs=32", key};
    EXPECT_THROW(run(keys), InputError) << key;
  }
}

// --- prefix caches ---

TEST(PrefixIndices, RadixAndHashAgreeAtBlockGranularity) {
  for (const char* prefix : {"trace.shared_prefix_tokens=96", "trace.shared_prefix_tokens=200"}) {
    const Out hash = run({prefix, "memory.prefix_cache=hash"}),
              radix = run({prefix, "memory.prefix_cache=radix"});
    EXPECT_EQ(hash.requests, radix.requests) << prefix;
    EXPECT_EQ(hash.json["kv"]["prefix_hit_ratio"], radix.json["kv"]["prefix_hit_ratio"]);
    EXPECT_GT(radix.json["kv"]["prefix_hit_ratio"], 0.4);
  }
}

TEST(PrefixIndices, ATreeOfTokensSharesToTheToken) {
  // 100 tokens of 200 in both classes; blocks of 16 share 96 of them.
  const auto ratio = [](const Out& out) { return out.json["kv"]["prefix_hit_ratio"].get<double>(); };
  const double blocks = ratio(run({"trace.shared_prefix_tokens=100", "memory.cache_salt=off"}));
  const double tokens =
      ratio(run({"trace.shared_prefix_tokens=100", "memory.cache_salt=off", "memory.prefix_cache=radix",
                 "memory.block_tokens=1", "memory.kv_blocks=14400"}));
  EXPECT_NEAR(blocks, 38 * 96 / (40.0 * 200), 1e-12);
  EXPECT_NEAR(tokens, 38 * 100 / (40.0 * 200), 1e-12);
}

TEST(PrefixIndices, TenantsDoNotShareUnlessToldTo) {
  const auto ratio = [](const char* salt) {
    return run({"trace.shared_prefix_tokens=96", salt}).json["kv"]["prefix_hit_ratio"].get<double>();
  };
  EXPECT_NEAR(ratio("memory.cache_salt=off"), 38 * 96 / (40.0 * 200), 1e-12);
  EXPECT_NEAR(ratio("memory.cache_salt=tenant"), 36 * 96 / (40.0 * 200), 1e-12);
}

TEST(PrefixIndices, WithoutThemTheSamePromptIsHeldTwice) {
  const double off =
      run({"trace.shared_prefix_tokens=192", "memory.prefix_cache=off"}).json["kv"]["duplicate_fraction"];
  const double on = run({"trace.shared_prefix_tokens=192"}).json["kv"]["duplicate_fraction"];
  EXPECT_GT(off, 0.3);
  EXPECT_EQ(on, 0);
  const double mapped =
      run({"trace.shared_prefix_tokens=192", "memory.allocator=vmm", "memory.vmm.page_kib=64"})
          .json["kv"]["duplicate_fraction"];
  EXPECT_GT(mapped, 0.2);
}

// --- cascade attention ---

TEST(Cascade, ReadsASharedPrefixOncePerGroup) {
  const std::vector<std::string> keys{"sampling.n=8", "memory.block_tokens=8", "trace.limit=1"};
  std::vector<std::string> with = keys;
  with.push_back("engine.profile.cascade=on");
  const Out off = run(keys), on = run(with);
  const Json& cascade = on.json["steps"]["cascade"];
  EXPECT_GT(cascade["steps"], 0);
  EXPECT_FALSE(off.json["steps"].contains("cascade"));
  // Seven of eight reads of 200 prompt tokens are saved in every one of 59 steps.
  const double per_token = on.json["kv"]["bytes_per_token"];
  EXPECT_DOUBLE_EQ(cascade["saved_hbm_bytes"].get<double>(), 59.0 * 7 * 200 * per_token);
  EXPECT_EQ(cascade["steps"], 59);
  EXPECT_NEAR(off.json["bytes"]["hbm"]["moved_per_rank"].get<double>() -
                  on.json["bytes"]["hbm"]["moved_per_rank"].get<double>(),
              cascade["saved_hbm_bytes"].get<double>(), 1e-6 * cascade["saved_hbm_bytes"].get<double>());
}

TEST(Cascade, AutoIsNeverSlowerThanEither) {
  for (const char* prefix : {"trace.shared_prefix_tokens=192", "trace.shared_prefix_tokens=16"}) {
    const auto busy = [&](const char* mode) {
      return run({prefix, "memory.cache_salt=off", std::string("engine.profile.cascade=") + mode})
          .json["mean_tpot_ms"]
          .get<double>();
    };
    EXPECT_LE(busy("auto"), busy("off") * (1 + 1e-9)) << prefix;
    EXPECT_LE(busy("auto"), busy("on") * (1 + 1e-9)) << prefix;
  }
}

}  // namespace
}  // namespace tessera
