// Rules across the keys of a model: each contradiction a file may hold, and what the user is told to do.
#include <gtest/gtest.h>

#include <functional>

#include "models/base/error.hpp"
#include "models/transformer/layers.hpp"
#include "tests/support/spec_text.hpp"

namespace tessera {
namespace {

const std::string kHead =
    "hidden: 128\nvocab: 1000\nmax_position: 4096\nlayers: 2\nffn: {intermediate: 256}\n";
const std::string kGqa = "attention: {heads: 8, kv_heads: 2, head_dim: 16}\n";

std::string error_of(const std::string& text) { return test::spec_error<Model>(text, "m.yaml"); }
std::string attention_error(const std::string& keys) {
  return error_of(kHead + "attention: {heads: 8, kv_heads: 8, head_dim: 16, " + keys + "}\n");
}
// Of one kind of layers; `more` are further lines of the file.
std::string kind_error(const std::string& keys, const std::string& more = "") {
  return error_of(kHead + kGqa + "kinds: [{name: full, " + keys + "}]\n" + more);
}

struct Case {
  std::string given;
  const char* words;
};
void expect_all(const std::vector<Case>& cases, const std::function<std::string(const std::string&)>& error) {
  for (const Case& c : cases) {
    const std::string message = error(c.given);
    EXPECT_NE(message.find(c.words), std::string::npos)
        << c.given << "\n  expected: " << c.words << "\n  said:     " << message;
  }
}

TEST(ModelRules, AttentionIsOfOneKind) {
  expect_all(
      {
          {"kind: mla, mla: {kv_lora_rank: 512, latent_heads: 3}",
           "attention.mla.latent_heads: 3 does not divide kv_lora_rank 512"},
          {"kind: mla, mla: {kv_lora_rank: 512, latent_heads: 16}", "latent_heads do not divide the 8 heads"},
          {"kind: mla, mla: {}, q_lora_rank: 64", "expected attention.mla.q_lora_rank"},
          {"kind: mla, mla: {}, o_lora_rank: 64", "mla has its own query latent"},
          {"kind: mla, mla: {}, k_equals_v: cache", "an mla latent has no separate K and V to tie"},
          {"o_groups: 3", "attention.o_groups: 3 does not divide 8 heads"},
          {"k_equals_v: half, v_head_dim: 8", "tied K and V need v_head_dim = head_dim"},
          {"kind: mha", "attention.kind: 'mha' is not known, expected one of gqa, mla"},
      },
      attention_error);
  EXPECT_EQ(attention_error("k_equals_v: half, v_head_dim: 16"), "no error");
  EXPECT_EQ(attention_error("kind: mla, mla: {latent_heads: 4}"), "no error");
}

TEST(ModelRules, HalfTiedKeysHaveTwoHalves) {
  EXPECT_NE(error_of(kHead + "attention: {heads: 8, kv_heads: 8, head_dim: 15, k_equals_v: half}\n")
                .find("half-tied K needs an even head_dim"),
            std::string::npos);
}

TEST(ModelRules, AKindRetainsWhatItsKeysSay) {
  expect_all(
      {
          {"retention: chunked", "chunked needs a window of at least 1 token"},
          {"retention: cascade", "cascade needs a window of at least 1 token"},
          {"window: 8", "a window needs retention: window or chunked"},
          {"sinks: 4", "sinks belong to retention: window or cascade"},
          {"retention: cascade, window: 10, cascades: 4", "4 does not divide the window of 10"},
          {"retention: window, window: 8, cascades: 2", "sub-windows belong to retention: cascade"},
          {"mixer: none, retention: window, window: 8", "only attention layers retain a window"},
          {"mixer: none, compressed: {}", "only attention layers compress entries"},
          {"retention: full, compressed: {of: evicted}", "of: evicted needs retention: window without sinks"},
          {"retention: window, window: 8, sinks: 2, compressed: {of: evicted}", "without sinks"},
          {"retention: window, window: 8, linear_memory: true", "a linear memory needs retention: chunked"},
          {"compressed: {indexed: true, top_k: 4}", "an indexed store takes top_k from attention.indexer"},
          {"compressed: {indexed: true}", "kind 'full' is indexed, but attention.indexer is missing"},
          {"compressed: {stride: 1}", "kinds[0].compressed.stride: 1 is out of range"},
          {"v_head_dim: 8, k_equals_v: weights", "kind 'full': tied K and V need v_head_dim = head_dim"},
          {"heads: 9", "kind 'full': 2 kv_heads do not divide 9 heads"},
      },
      [](const std::string& keys) { return kind_error(keys); });
  for (const char* fine :
       {"retention: window, window: 8, sinks: 2", "retention: cascade, window: 8, sinks: 2, cascades: 4",
        "retention: chunked, window: 8, linear_memory: true",
        "retention: window, window: 8, compressed: {of: evicted}", "mixer: none",
        "compressed: {stride: 4, top_k: 8}"})
    EXPECT_EQ(kind_error(fine), "no error") << fine;
}

TEST(ModelRules, ALatentIsNotCompressedFurther) {
  const std::string mla = "attention: {heads: 8, kv_heads: 8, head_dim: 16, kind: mla, mla: {}}\n";
  for (const char* keys : {"compressed: {}", "retention: chunked, window: 8, linear_memory: true"})
    EXPECT_NE(
        error_of(kHead + mla + "kinds: [{name: full, " + keys + "}]\n").find("expected attention.kind: gqa"),
        std::string::npos)
        << keys;
}

TEST(ModelRules, EveryKeyOfSharingBelongsToItsKinds) {
  expect_all(
      {
          {"kind: last, layers: 1, factor: 2", "sharing.factor: belongs to sharing.kind: adjacent or merged"},
          {"kind: adjacent, layers: 1",
           "sharing.layers: belongs to sharing.kind: last, but the kind is adjacent"},
          {"kind: last, layers: 1, of: full", "sharing.of: belongs to sharing.kind: first"},
          {"kind: none, warmup: 2",
           "sharing.warmup: belongs to sharing.kind: condensed, but the kind is none"},
          {"kind: first, of: full, prefill_passes: 2", "sharing.prefill_passes: belongs to"},
          {"kind: adjacent, from: 1", "sharing.from: belongs to sharing.kind: merged"},
          {"kind: adjacent, kept_every: 8", "sharing.kept_every: belongs to sharing.kind: merged"},
          {"kind: last, layers: 1, map: [1=0]", "sharing.map: belongs to sharing.kind: map"},
          {"kind: condensed, skip_prefill: true",
           "sharing.skip_prefill: belongs to sharing.kind: last or first"},
          {"kind: frist, of: full", "did you mean 'first'?"},
      },
      [](const std::string& keys) { return error_of(kHead + kGqa + "sharing: {" + keys + "}\n"); });
}

TEST(ModelRules, ExpertsAndStatesAreWhole) {
  const auto with = [](const std::string& lines) { return error_of(kHead + kGqa + lines + "\n"); };
  expect_all(
      {
          {"moe: {experts: 4, top_k: 1}", "moe.expert_width: missing"},
          {"moe: {experts: 0, top_k: 1, expert_width: 8}", "moe.experts: 0 is out of range"},
          {"moe: {experts: 4, top_k: 1, expert_width: 8, period: 2, offset: 2}",
           "moe.offset: 2 is not below the period 2"},
          {"moe: {experts: 4, topk: 1, expert_width: 8}", "did you mean 'top_k'?"},
          {"recurrent: {kind: mamba2, heads: 8, state: 16, groups: 0}", "recurrent.groups: 0 groups"},
          {"recurrent: {kind: mamba1, heads: 8, state: 16, groups: 0, dt_rank: 0}", "mamba1 needs groups: 0"},
          {"recurrent: {kind: mamba3, heads: 8, state: 16}", "did you mean 'mamba1'?"},
          {"recurrent: {kind: mamba2, state: 16}", "recurrent.heads: missing, expected state heads"},
      },
      with);
  EXPECT_EQ(with("recurrent: {kind: mamba1, heads: 8, state: 16, groups: 0, dt_rank: 4}"), "no error");
}

// A key that a rule misses may stand there under another name: that is what the user has to mend.
TEST(ModelRules, AMisspeltKeyIsToldBeforeTheRuleItsAbsenceBreaks) {
  expect_all(
      {
          {"fnn: {intermediate: 256}\n" + kGqa, "m.yaml:5:1: fnn: unknown key, did you mean 'ffn'?"},
          {"ffn: {intermediate: 256}\n" + kGqa + "kinds: [{name: full, retention: window, widnow: 8}]\n",
           "kinds[0].widnow: unknown key, did you mean 'window'?"},
          {"ffn: {intermediate: 256}\n" + kGqa + "sharing: {knid: last, layers: 1}\n",
           "sharing.knid: unknown key, did you mean 'kind'?"},
          {kGqa, "layer 0 is dense, but ffn.intermediate is missing"},
      },
      [](const std::string& rest) {
        return error_of("hidden: 128\nvocab: 1000\nmax_position: 4096\nlayers: 2\n" + rest);
      });
}

// "kinds: [{" has 9 characters, "name: full, " 12, "windw: 8, " 10, "retention: " 11: the value is the 43rd.
TEST(ModelRules, TheFirstOfSeveralMistakesIsToldWithItsPlace) {
  const std::string message = kind_error("windw: 8, retention: windo");
  EXPECT_NE(message.find("m.yaml:7:43: kinds[0].retention: 'windo'"), std::string::npos) << message;
}

}  // namespace
}  // namespace tessera
