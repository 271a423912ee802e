// Reading models: the pattern of layers, what-ifs by key, and errors that help.
#include "models/transformer/model.hpp"

#include <gtest/gtest.h>

#include "models/base/error.hpp"
#include "models/transformer/layers.hpp"
#include "tests/support/spec_text.hpp"

namespace tessera {
namespace {

const std::string kHead = "hidden: 128\nvocab: 1000\nmax_position: 4096\nffn: {intermediate: 256}\n";
const std::string kGqa = "attention: {heads: 8, kv_heads: 2, head_dim: 16}\n";

Model read_model(const std::string& text) { return test::spec_of<Model>(text, "m.yaml"); }
std::string error_of(const std::string& text) { return test::spec_error<Model>(text, "m.yaml"); }
std::string kinds_of(const Model& model) {
  std::string text;
  for (const Layer& layer : resolve_layers(model))
    text += model.kinds[static_cast<std::size_t>(layer.kind)].name;
  return text;
}

TEST(Model, ThePatternRepeatsToTheLastLayer) {
  const std::string kinds = "kinds: [{name: w, retention: window, window: 8}, {name: g}]\n";
  EXPECT_EQ(kinds_of(read_model(kHead + kGqa + kinds + "layers: 8\npattern: [w*2, g]\n")), "wwgwwgww");
  EXPECT_EQ(kinds_of(read_model(kHead + kGqa + kinds + "layers: 3\npattern: [g, w*5]\n")), "gww");
}

TEST(Model, WithoutAPatternAllLayersAreFullAttention) {
  const Model model = read_model(kHead + kGqa + "layers: 3\n");
  for (const Layer& layer : resolve_layers(model)) {
    EXPECT_EQ(layer.mixer, Mixer::attention);
    EXPECT_EQ(layer.rule.kind, Retention::full);
    EXPECT_TRUE(layer.ffn);
    EXPECT_EQ(layer.v_head_dim, 16);
  }
}

TEST(Model, AKindOverridesTheModelsHeads) {
  const Model model =
      read_model(kHead + kGqa +
                 "layers: 2\nkinds: [{name: a, kv_heads: 8}, {name: b, head_dim: 32}]\npattern: [a, b]\n");
  const std::vector<Layer> layers = resolve_layers(model);
  EXPECT_EQ(layers[0].kv_heads, 8);
  EXPECT_EQ(layers[0].head_dim, 16);
  EXPECT_EQ(layers[1].kv_heads, 2);
  EXPECT_EQ(layers[1].head_dim, 32);
  EXPECT_EQ(layers[1].v_head_dim, 32);
}

TEST(Model, MoeLayersFollowTheFirstLayerPeriodAndOffset) {
  const Model model = read_model(
      kHead + kGqa +
      "layers: 8\nmoe: {experts: 4, top_k: 1, expert_width: 64, first_layer: 2, period: 2, offset: 1}\n");
  std::string moe;
  for (const Layer& layer : resolve_layers(model)) moe += layer.moe ? 'M' : '-';
  EXPECT_EQ(moe, "---M-M-M");
}

TEST(Model, AdjacentLayersReadTheFirstOfTheirGroup) {
  const Model model = read_model(kHead + kGqa + "layers: 5\nsharing: {kind: adjacent, factor: 2}\n");
  std::vector<int> sources;
  for (const Layer& layer : resolve_layers(model)) sources.push_back(layer.kv_source);
  EXPECT_EQ(sources, (std::vector<int>{0, 0, 2, 2, 4}));
}

TEST(Model, TheLastLayersReadTheNearestEarlierLayerOfTheirKind) {
  const Model model = read_model(kHead + kGqa +
                                 "layers: 6\nkinds: [{name: w, retention: window, window: 8}, {name: g}]\n"
                                 "pattern: [w*2, g]\nsharing: {kind: last, layers: 3}\n");
  std::vector<int> sources;
  for (const Layer& layer : resolve_layers(model)) sources.push_back(layer.kv_source);
  EXPECT_EQ(sources, (std::vector<int>{0, 1, 2, 1, 1, 2}));
}

TEST(Model, AWhatIfChangesOneKey) {
  Yaml tree = load_config("models", "llama-3.1-8b");
  set_path(tree, "attention.kv_heads", parse_yaml("4", "--set"), nullptr);
  Model model;
  read_spec(tree, model);
  EXPECT_EQ(model.attention.kv_heads, 4);
  EXPECT_EQ(model.layers, 32);
}

TEST(Model, WhatIsWrittenReadsBackTheSame) {
  for (const char* name :
       {"gemma-3n-e4b", "deepseek-v3.2", "jamba-v0.1", "mimo-v2-flash", "nemotron-3-nano-30b-a3b"}) {
    const std::string text = emit_yaml(to_yaml(load_model(name)));
    Model again;
    read_spec(parse_yaml(text, "again.yaml"), again);
    EXPECT_EQ(emit_yaml(to_yaml(again)), text) << name;
  }
}

TEST(Model, PrecisionFallsBackFromExpertsToWeightsToDType) {
  EXPECT_EQ(load_model("llama-3.1-8b").precision.expert_weights(), DType::bf16);
  EXPECT_EQ(load_model("deepseek-v3").precision.expert_weights(), DType::fp8);
  EXPECT_EQ(load_model("gpt-oss-20b").precision.linear_weights(), DType::bf16);
  EXPECT_EQ(load_model("gpt-oss-20b").precision.expert_weights(), DType::fp4);
}

TEST(Model, ANameNearAShippedOneIsSuggested) {
  try {
    load_model("lama-3.1-8b");
    FAIL() << "expected an error";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'llama-3.1-8b'?"), std::string::npos)
        << error.what();
  }
}

// Each row: what stands in the file, and a part of the message that tells the user what to do.
TEST(Model, MistakesAreNamedWithTheirPlace) {
  const struct {
    std::string text;
    const char* message;
  } rows[] = {
      {kHead + "layers: 2\nattention: {heads: 8, kv_heads: 3, head_dim: 16}\n",
       "m.yaml:6:33: attention.kv_heads: 3 does not divide the 8 query heads"},
      {kHead + "layers: 2\n", "attention: missing"},
      {kHead + kGqa, "layers: missing"},
      {kHead + kGqa + "layers: 0\n", "m.yaml:6:9: layers: 0 is out of range"},
      {kHead + kGqa + "layers: 2\nlayer: 3\n", "unknown key"},
      {kHead + kGqa + "layers: 2\npattern: [ful]\n",
       "m.yaml:7:10: pattern: 'ful' is not a kind, expected one of full, did you mean 'full'?"},
      {kHead + kGqa + "layers: 2\npattern: [full*0]\n", "expected name*count with a count from 1 to 4096"},
      {kHead + kGqa + "layers: 2\npattern: [full*x]\n", "expected name*count"},
      {kHead + kGqa + "layers: 2\npattern: []\n", "pattern: is empty"},
      {kHead + kGqa + "layers: 2\nkinds: []\n", "kinds: is empty"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full}, {name: full}]\n", "two kinds are named 'full'"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, window: 8}]\n",
       "kinds[0].retention: a window needs retention: window or chunked"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, retention: window}]\n",
       "window needs a window of at least 1 token"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, retention: chunked, window: 8, sinks: 4}]\n",
       "sinks belong to retention: window"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, kv_heads: 3}]\n",
       "kind 'full': 3 kv_heads do not divide 8 heads"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, mixer: recurrent}]\n", "no `recurrent` group"},
      {kHead + kGqa + "layers: 2\nkinds: [{name: full, mixer: none, ffn: false}]\n",
       "needs its feed-forward block"},
      {kHead + kGqa + "layers: 2\nsharing: {kind: last, layers: 2}\n", "some layer has to store the KV"},
      {kHead + kGqa +
           "layers: 3\nkinds: [{name: a}, {name: b}]\npattern: [a*2, b]\nsharing: {kind: last, layers: 1}\n",
       "layer 2 ('b') has no earlier layer of its kind"},
      {kHead + kGqa +
           "layers: 2\nkinds: [{name: a}, {name: b}]\npattern: [a, b]\nsharing: {kind: adjacent, factor: "
           "2}\n",
       "layer 1 ('b') has no earlier layer of its kind"},
      {kHead + kGqa + "layers: 2\nmoe: {experts: 4, top_k: 5, expert_width: 8}\n",
       "moe.top_k: 5 is above the 4 experts"},
      {kHead + kGqa + "layers: 2\nmoe: {experts: 4, top_k: 1, expert_width: 8, offset: 1}\n",
       "offset: 1 is not below the period 1"},
      {"hidden: 8\nvocab: 8\nmax_position: 8\nlayers: 2\n" + kGqa,
       "layer 0 is dense, but ffn.intermediate is missing"},
      {kHead + "layers: 2\nattention: {heads: 8, kv_heads: 8, head_dim: 16, kind: mla}\n",
       "mla needs the group attention.mla"},
      {kHead + "layers: 2\nattention: {heads: 8, kv_heads: 8, head_dim: 16, mla: {}}\n",
       "expected kind: mla"},
      {kHead + "layers: 2\nattention: {heads: 8, kv_heads: 8, head_dim: 16, indexer: {}}\n",
       "index keys are modelled for mla and for compressed entries"},
      {kHead +
           "layers: 2\nattention: {heads: 8, kv_heads: 8, head_dim: 16, v_head_dim: 8, k_equals_v: cache}\n",
       "tied K and V need v_head_dim = head_dim"},
      {kHead + kGqa + "layers: 2\nrecurrent: {kind: mamba2, heads: 8, state: 16, groups: 3}\n",
       "3 groups do not divide 8 heads"},
      {kHead + kGqa + "layers: 2\nrecurrent: {kind: mamba1, heads: 8, state: 16}\n",
       "mamba1 needs groups: 0"},
      {kHead + kGqa + "layers: 2\nprecision: {weights: fp5}\n", "precision.weights: 'fp5' is not known"},
      {kHead + kGqa + "layers: 1e12\n", "out of range"},
  };
  for (const auto& row : rows)
    EXPECT_NE(error_of(row.text).find(row.message), std::string::npos)
        << row.text << "-> " << error_of(row.text);
}

// Sums over a model stay inside 64 bits: what could leave them is refused when it is read.
TEST(Model, SizesBeyondAllReasonAreRefused) {
  const std::string tail = "vocab: 1000\nlayers: 4000\nmax_position: 4096\n";
  const auto all = [&](const std::string& heads, const std::string& rest) {
    return error_of("hidden: 16777216\n" + tail + "attention: {" + heads + "}\n" + rest);
  };
  EXPECT_NE(all("heads: 16777216, kv_heads: 16777216, head_dim: 16777216", "ffn: {intermediate: 8}\n")
                .find("of KV per token"),
            std::string::npos);
  EXPECT_NE(all("heads: 8, kv_heads: 8, head_dim: 8", "ffn: {intermediate: 16777216}\n")
                .find("parameters, expected at most"),
            std::string::npos);
  EXPECT_NE(
      all("heads: 8, kv_heads: 8, head_dim: 8", "moe: {experts: 1000000, top_k: 1, expert_width: 16777216}\n")
          .find("parameters, expected at most"),
      std::string::npos);
  EXPECT_NE(
      all("heads: 8, kv_heads: 8, head_dim: 8",
          "ffn: {intermediate: 8}\nkinds: [{name: full, mixer: recurrent}]\n"
          "recurrent: {kind: mamba2, heads: 16777216, head_dim: 16777216, state: 16777216, groups: 1}\n")
          .find("of state per sequence"),
      std::string::npos);
}

TEST(Model, TheSchemaDocumentsEveryKey) {
  const auto schema = schema_of<Model>();
  EXPECT_GT(schema.size(), 60u);
  for (const SchemaEntry& entry : schema) EXPECT_FALSE(entry.doc.empty()) << entry.path;
}

}  // namespace
}  // namespace tessera
