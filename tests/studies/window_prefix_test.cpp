// Window layers on the Mooncake conversation trace (its first 1,200 requests): what block tables per group of
// layers give in capacity, and what they cost in prefix hits, at equal memory.
//
// A hit that branches off inside an earlier prompt needs the window in front of the branch. Those pages were
// passed long ago and stand in the same queue as everything else, so hits fall while capacity rises.
#include <gtest/gtest.h>

#include <fstream>

#include "models/transformer/kv_pages.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

constexpr const char* kTrace = "traces/mooncake_fast25_conversation_trace.jsonl.gz";
constexpr std::int64_t kContext = 32768;

RunResult play(const std::string& model, const std::string& memory) {
  const std::string path = test::scratch(model + ".yaml");
  std::ofstream(path) << "gpu: h200-sxm\nmodel: " << model
                      << "\nengine: {profile: vllm-0.19, max_num_batched_tokens: 8192}\nmemory: {" << memory
                      << "}\ntrace: {limit: 1200}\n";
  return simulate(load_run_config(path, {}, test::shared_data(kTrace)));
}

double hit_percent(const RunResult& r) {
  return 100 * static_cast<double>(r.metrics.prompt_tokens_hit) /
         static_cast<double>(r.metrics.prompt_tokens_looked_up);
}

// Sequences of 32K tokens that fit: in blocks that span all layers, and in blocks of a group.
double capacity_gain(const std::string& model, const RunResult& together, const RunResult& grouped) {
  const KvPagePlan plan = plan_pages(make_kv_layout(load_model(model), DType::bf16), 16, 1024);
  std::int64_t blocks = 0;
  for (const KvPageGroup& group : plan.groups)
    blocks += group.tables * group.rule.peak_pages(kContext, group.page_tokens);
  const double before = static_cast<double>(together.kv_blocks) / (kContext / 16);
  return static_cast<double>(grouped.kv_blocks) / static_cast<double>(blocks) / before;
}

// 62 layers in full are 5.33 times the bytes of 10 in full and 52 of 1024 tokens; a page more per window and
// the eight empty places of the sixth table cost 3 % of that.
TEST(WindowPrefix, Gemma3FitsFiveTimesTheSequencesAndFindsFewerPrefixes) {
  TESSERA_NEED_DATA(kTrace);
  const RunResult together = play("gemma-3-27b", "block_scope: all-layers");
  const RunResult grouped = play("gemma-3-27b", "block_scope: group");
  const double gain = capacity_gain("gemma-3-27b", together, grouped);
  std::printf("[ measured ] gemma-3-27b: %.2fx the sequences of 32K; prefix hits %.2f %% against %.2f %%\n",
              gain, hit_percent(grouped), hit_percent(together));
  EXPECT_NEAR(gain, 15.5 / 2.906, 0.05 * 5.33);
  EXPECT_LT(grouped.metrics.peak_running, 4096);
  EXPECT_GT(grouped.metrics.peak_running, 2 * together.metrics.peak_running);
  EXPECT_LT(hit_percent(grouped), hit_percent(together) + 0.5);
}

// 12 of 24 layers keep 128 tokens: twice the sequences.
TEST(WindowPrefix, GptOssFitsTwiceTheSequencesAndFindsFewerPrefixes) {
  TESSERA_NEED_DATA(kTrace);
  const RunResult together = play("gpt-oss-20b", "block_scope: all-layers");
  const RunResult grouped = play("gpt-oss-20b", "block_scope: group");
  const double gain = capacity_gain("gpt-oss-20b", together, grouped);
  std::printf("[ measured ] gpt-oss-20b: %.2fx the sequences of 32K; prefix hits %.2f %% against %.2f %%\n",
              gain, hit_percent(grouped), hit_percent(together));
  EXPECT_NEAR(gain, 2.0, 0.02);
  EXPECT_LT(hit_percent(grouped), hit_percent(together));
  // Overwriting passed pages first loses the branch points altogether.
  const RunResult reused = play("gpt-oss-20b", "block_scope: group, reuse_passed: true");
  std::printf("[ measured ] gpt-oss-20b, passed pages first: %.2f %%\n", hit_percent(reused));
  EXPECT_LT(hit_percent(reused), 0.7 * hit_percent(grouped));
}

// Without pressure nothing is overwritten: a grouped pool finds what a spanning one does, to within the last
// blocks of a prompt.
TEST(WindowPrefix, WithRoomForEverythingNoPrefixIsLost) {
  TESSERA_NEED_DATA(kTrace);
  const RunResult together = play("gpt-oss-20b", "block_scope: all-layers, kv_blocks: 3000000");
  const RunResult grouped = play("gpt-oss-20b", "block_scope: group, kv_blocks: 6000000");
  EXPECT_NEAR(hit_percent(grouped), hit_percent(together), 0.2);
}

}  // namespace
}  // namespace tessera
