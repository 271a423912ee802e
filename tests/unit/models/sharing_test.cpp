// Sharing maps: who reads whom, what a prompt skips or repeats, and what a pipeline cut costs.
#include "models/transformer/sharing.hpp"

#include <gtest/gtest.h>

#include "models/transformer/kv_layout.hpp"
#include "models/transformer/step_work.hpp"
#include "models/transformer/weights.hpp"

namespace tessera {
namespace {

Model read_model(const std::string& text) {
  Model model;
  read_spec(
      parse_yaml("hidden: 128\nvocab: 1000\nmax_position: 4096\nattention: {heads: 8, kv_heads: 2, head_dim: "
                 "16}\nffn: {intermediate: 256}\n" +
                     text,
                 "m.yaml"),
      model);
  return model;
}
std::string error_of(const std::string& text) {
  try {
    read_model(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}
std::vector<int> sources(const Model& model) {
  std::vector<int> list;
  for (const Layer& layer : resolve_layers(model)) list.push_back(layer.kv_source);
  return list;
}
const std::string kYoco =
    "layers: 6\nkinds: [{name: self, retention: window, window: 8}, {name: cross}]\n"
    "pattern: [self*3, cross*3]\nsharing: {kind: first, of: cross";

std::int64_t gemm_rows(const StepWork& work, const char* name, Rows rows) {
  std::int64_t layers = 0;
  for (const GemmOp& op : work.gemms)
    if (op.name == name && op.rows == rows) layers += op.layers;
  return layers;
}

TEST(Sharing, AllLayersOfAKindReadItsFirst) {
  EXPECT_EQ(sources(read_model(kYoco + "}\n")), (std::vector<int>{0, 1, 2, 3, 3, 3}));
}

TEST(Sharing, CondensedLayersReadTheTopmostOfThem) {
  EXPECT_EQ(sources(read_model("layers: 6\nsharing: {kind: condensed}\n")),
            (std::vector<int>{5, 5, 5, 5, 5, 5}));
  EXPECT_EQ(sources(read_model("layers: 6\nsharing: {kind: condensed, warmup: 3}\n")),
            (std::vector<int>{0, 1, 4, 4, 4, 5}));
}

TEST(Sharing, MergedLayersStartAtALayer) {
  const Model model = read_model("layers: 7\nsharing: {kind: merged, factor: 2, from: 3}\n");
  EXPECT_EQ(sources(model), (std::vector<int>{0, 1, 2, 3, 3, 5, 5}));
  std::string merged;
  for (const Layer& layer : resolve_layers(model)) merged += layer.merged ? 'M' : '-';
  EXPECT_EQ(merged, "---MMMM");
}

TEST(Sharing, ALastLayerWithoutAPartnerIsNotMerged) {
  std::string merged;
  for (const Layer& layer :
       resolve_layers(read_model("layers: 6\nsharing: {kind: merged, factor: 2, from: 3}\n")))
    merged += layer.merged ? 'M' : '-';
  EXPECT_EQ(merged, "---MM-");
}

TEST(Sharing, AMapNamesReaderAndSource) {
  EXPECT_EQ(sources(read_model("layers: 5\nsharing: {kind: map, map: [4=1, 3=0]}\n")),
            (std::vector<int>{0, 1, 2, 0, 1}));
}

TEST(Sharing, MistakesAreNamed) {
  const struct {
    std::string text;
    const char* message;
  } rows[] = {
      {"layers: 5\nsharing: {kind: map, map: [1=4]}\n",
       "'1=4': expected reader=source with 0 <= source < reader < 5"},
      {"layers: 5\nsharing: {kind: map, map: [x]}\n", "'x': expected reader=source"},
      {"layers: 5\nsharing: {kind: map, map: [4=1, 1=0]}\n",
       "layer 4 reads layer 1, which is itself a reader"},
      {"layers: 5\nsharing: {kind: map, map: [1=0, 4=1]}\n", "layer 1 stores no KV of its own"},
      {"layers: 5\nsharing: {kind: condensed, warmup: 4}\n", "4 warm-up layers leave none to share"},
      {"layers: 5\nsharing: {kind: merged, from: 1}\n", "factor of at least 2"},
      {"layers: 5\nsharing: {kind: merged, factor: 2, from: 5}\n", "from = 5 is beyond the 5 layers"},
      {"layers: 5\nsharing: {kind: first, of: ful}\n", "'ful' is not a kind of attention layers"},
      {"layers: 5\nsharing: {kind: adjacent, factor: 2, skip_prefill: true}\n",
       "sharing.skip_prefill: belongs to sharing.kind: last or first, but the kind is adjacent"},
      {"layers: 4\nkinds: [{name: a}, {name: b}]\npattern: [a, b, a, a]\nsharing: {kind: first, of: b, "
       "skip_prefill: "
       "true}\n",
       "layer 2 ('a') follows the first 'b' layer, so a prompt cannot stop there"},
  };
  for (const auto& row : rows)
    EXPECT_NE(error_of(row.text).find(row.message), std::string::npos)
        << row.text << "-> " << error_of(row.text);
}

// YOCO: past the middle only sampled tokens run, but the shared keys and values are made for every token.
TEST(Sharing, APromptStopsWhereTheSharedKvIsMade) {
  const StepWork work = make_step_work(read_model(kYoco + ", skip_prefill: true}\n"), DType::bf16);
  EXPECT_EQ(gemm_rows(work, "qkv", Rows::tokens), 3);
  EXPECT_EQ(gemm_rows(work, "qkv", Rows::sampled), 3);
  EXPECT_EQ(gemm_rows(work, "kv", Rows::tokens), 1);
  EXPECT_EQ(gemm_rows(work, "ffn_up", Rows::tokens), 3);
  EXPECT_EQ(gemm_rows(work, "ffn_up", Rows::sampled), 3);
  for (const AttentionOp& op : work.attention)
    EXPECT_EQ(op.rows, op.name == "cross" ? Rows::sampled : Rows::tokens) << op.name;
}

// Gemma-3n: a prompt runs 20 of 35 layers.
TEST(Sharing, Gemma3nMaySkipFifteenLayersOfAPrompt) {
  Model model = load_model("gemma-3n-e4b");
  const auto prompt_flops = [](const Model& m) {
    std::int64_t flops = 0;
    for (const GemmOp& op : make_step_work(m, DType::bf16).gemms)
      if (op.rows == Rows::tokens && op.name.rfind("ffn", 0) == 0) flops += op.flops(1);
    return flops;
  };
  const std::int64_t all = prompt_flops(model);
  model.sharing.skip_prefill = true;
  EXPECT_EQ(35 * prompt_flops(model), 20 * all);
}

TEST(Sharing, SkippingAndRepeatingLeaveTheWeightsAlone) {
  const auto parameters = [](const Model& m) { return parameter_count(weight_tensors(m)); };
  EXPECT_EQ(parameters(read_model(kYoco + "}\n")), parameters(read_model(kYoco + ", skip_prefill: true}\n")));
  EXPECT_EQ(parameters(read_model("layers: 6\nsharing: {kind: condensed}\n")),
            parameters(read_model("layers: 6\nsharing: {kind: condensed, prefill_passes: 9}\n")));
}

// A reader projects queries only: 4 of 6 layers lose 2 heads x (16 + 16) x 128 weights.
TEST(Sharing, ReadersHaveNoKeyAndValueWeights) {
  const auto parameters = [](const std::string& sharing) {
    return parameter_count(weight_tensors(read_model("layers: 6\n" + sharing)));
  };
  EXPECT_EQ(parameters("") - parameters("sharing: {kind: adjacent, factor: 3}\n"), 4 * 2 * 32 * 128);
}

// Eight further passes of a prompt through the four layers between the warm-up layers.
TEST(Sharing, CondensedLayersRunAPromptSeveralTimes) {
  const StepWork work = make_step_work(
      read_model("layers: 6\nsharing: {kind: condensed, warmup: 2, prefill_passes: 9}\n"), DType::bf16);
  EXPECT_EQ(gemm_rows(work, "ffn_up", Rows::tokens), 6);
  EXPECT_EQ(gemm_rows(work, "ffn_up", Rows::prefill), 4 * 8);
  std::int64_t passes = 0;
  for (const AttentionOp& op : work.attention)
    if (op.rows == Rows::prefill) passes += op.layers;
  EXPECT_EQ(passes, 4 * 8);
}

// CLA2 cut after layer 3 of 8: layer 3 reads layer 2, both on the first stage; cut after layer 2, layer 3
// sits on the second stage, which must keep a copy.
TEST(Sharing, APipelineCutInsideASharingGroupCostsACopy) {
  const Model model = read_model("layers: 8\nsharing: {kind: adjacent, factor: 2}\n");
  const auto stage = [&](std::int64_t first, std::int64_t count) {
    return make_kv_layout(model, DType::bf16, 1, {first, count}).groups[0];
  };
  EXPECT_EQ(stage(0, 4).layers_held + stage(4, 4).layers_held, 4);
  EXPECT_EQ(stage(4, 4).layers_copied, 0);
  EXPECT_EQ(stage(0, 3).layers_held + stage(3, 5).layers_held, 5);
  EXPECT_EQ(stage(3, 5).layers_copied, 1);
  EXPECT_EQ(stage(0, 3).layers_copied, 0);
}

// Every stage of a condensed model needs the topmost layer's entries.
TEST(Sharing, CondensedStagesAllCopyTheTopLayer) {
  const Model model = read_model("layers: 8\nsharing: {kind: condensed}\n");
  const KvGroup bottom = make_kv_layout(model, DType::bf16, 1, {0, 4}).groups[0];
  EXPECT_EQ(bottom.layers_held, 1);
  EXPECT_EQ(bottom.layers_copied, 1);
}

TEST(Sharing, ASnapshotOfTheStateIsKeptEverySoManyTokens) {
  const KvLayout jamba = make_kv_layout(load_model("jamba-v0.1"), DType::bf16);
  EXPECT_EQ(jamba.snapshot_bytes(1000, 256), 3 * jamba.state_bytes());
  EXPECT_EQ(jamba.snapshot_bytes(255, 256), 0);
}

// A memory of K x V per head is written when its chunk is full; a recurrence at every step.
TEST(Sharing, ALinearMemoryIsWrittenOncePerChunk) {
  const Model infini = read_model(
      "layers: 2\nkinds: [{name: s, retention: chunked, window: 64, linear_memory: true}]\npattern: [s]\n");
  const KvLayout layout = make_kv_layout(infini, DType::bf16);
  EXPECT_EQ(layout.state_bytes(), 2 * 2 * 16 * 17 * 2);
  EXPECT_EQ(layout.state_write_bytes(127), 0);
  EXPECT_EQ(layout.state_write_bytes(128), layout.state_bytes());
  const KvLayout jamba = make_kv_layout(load_model("jamba-v0.1"), DType::bf16);
  EXPECT_EQ(jamba.state_write_bytes(127), jamba.state_bytes());
}

}  // namespace
}  // namespace tessera
