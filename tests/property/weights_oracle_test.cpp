// Parameters of random models against the list of tensors a checkpoint of theirs would hold, layer by layer.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "models/parallel/partition.hpp"
#include "models/transformer/layers.hpp"

namespace tessera {
namespace {

using rc::gen::element;

// GQA or MLA attention beside Mamba-2 layers and layers of a feed-forward block alone; dense or MoE blocks.
Model any_model() {
  Model m;
  m.name = "random";
  m.hidden = *element<std::int64_t>(8, 32, 48);
  m.vocab = *element<std::int64_t>(64, 96);
  m.layers = *rc::gen::inRange<std::int64_t>(1, 9);
  m.max_position = 4096;
  m.rope.dim = 0;
  m.tied_embeddings = *rc::gen::arbitrary<bool>();
  m.sandwich_norm = *rc::gen::arbitrary<bool>();
  m.learned_positions = *element<std::int64_t>(0, 128);
  m.other_parameters = *element<std::int64_t>(0, 1234);
  m.biases = *element<std::string>("none", "qkv", "linear");
  AttentionSpec& a = m.attention;
  a.kv_heads = *element<std::int64_t>(4, 8);
  a.heads = a.kv_heads * *element<std::int64_t>(1, 2);
  a.head_dim = *element<std::int64_t>(4, 16);
  a.v_head_dim = *element<std::int64_t>(0, 8);
  a.qk_norm = *rc::gen::arbitrary<bool>();
  a.output_gate = *rc::gen::arbitrary<bool>();
  if (*rc::gen::weightedElement<bool>({{3, false}, {1, true}})) {
    a.kind = "mla";
    a.output_gate = a.qk_norm = false;
    m.biases = "none";
    MlaSpec& mla = a.mla.emplace();
    mla.kv_lora_rank = 16, mla.q_lora_rank = *element<std::int64_t>(0, 24);
    mla.nope_dim = 8, mla.rope_dim = *element<std::int64_t>(0, 4), mla.v_dim = 12;
  }
  m.ffn.intermediate = *element<std::int64_t>(16, 64);
  m.ffn.gated = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) {
    MoeSpec& moe = m.moe.emplace();
    moe.experts = *element<std::int64_t>(4, 8), moe.top_k = 2;
    moe.expert_width = *element<std::int64_t>(8, 16);
    moe.shared_width = *element<std::int64_t>(0, 16);
    moe.first_layer = *element<std::int64_t>(0, 1);
    moe.period = *element<std::int64_t>(1, 2);
    moe.router_bias = *rc::gen::arbitrary<bool>();
  }
  RecurrentSpec& r = m.recurrent.emplace();
  r.heads = 8, r.head_dim = *element<std::int64_t>(2, 4), r.state = 16,
  r.groups = *element<std::int64_t>(4, 8);
  LayerKind attend, recur, alone;
  recur.name = "r", recur.mixer = "recurrent", recur.ffn = *rc::gen::arbitrary<bool>();
  alone.name = "f", alone.mixer = "none";
  m.kinds = {attend, recur, alone};
  m.pattern = *element<std::vector<std::string>>(std::vector<std::string>{"full"},
                                                 std::vector<std::string>{"full", "r"},
                                                 std::vector<std::string>{"r*2", "full", "f"});
  RC_ASSERT(find_layer_problem(m).text.empty());
  return m;
}

// What is split over ranks (matrices and their biases), and what each of them holds whole.
struct Count {
  std::int64_t split = 0, whole = 0;
};

Count checkpoint(const Model& m) {
  const AttentionSpec& a = m.attention;
  const std::int64_t h = m.hidden, heads = a.heads, kv = a.kv_heads, d = a.head_dim;
  const std::int64_t dv = a.v_head_dim > 0 ? a.v_head_dim : d, up = m.ffn.gated ? 2 : 1;
  const bool all_biased = m.biases == "linear";
  Count c;
  c.split += m.vocab * h * (m.tied_embeddings ? 1 : 2);         // embedding and head
  c.whole += m.learned_positions * h + m.other_parameters + h;  // and the last norm
  for (std::int64_t i = 0; i < m.layers; ++i) {
    std::string name = m.pattern[static_cast<std::size_t>(i) % m.pattern.size()];
    if (m.pattern.size() == 3)
      name = std::vector<std::string>{"r", "r", "full", "f"}[static_cast<std::size_t>(i % 4)];
    const std::int64_t norm = h * (m.sandwich_norm ? 2 : 1);
    if (name == "full") {
      c.whole += norm;
      if (a.mla) {
        const MlaSpec& mla = *a.mla;
        const std::int64_t q = heads * (mla.nope_dim + mla.rope_dim);
        c.whole += h * (mla.q_lora_rank + mla.kv_lora_rank + mla.rope_dim);  // both down projections
        c.split += (mla.q_lora_rank > 0 ? mla.q_lora_rank : h) * q;
        c.split += mla.kv_lora_rank * heads * (mla.nope_dim + mla.v_dim);
        c.split += heads * mla.v_dim * h;
        c.whole += mla.q_lora_rank + mla.kv_lora_rank;  // their norms
      } else {
        const std::int64_t qkv = heads * d * (a.output_gate ? 2 : 1) + kv * (d + dv);
        c.split += qkv * h + heads * dv * h;
        if (m.biases != "none") c.split += qkv;
        if (all_biased) c.whole += h;  // of the output projection, added once but held by every rank
        if (a.qk_norm) c.whole += 2 * d;
      }
    }
    if (name == "r") {
      const RecurrentSpec& r = *m.recurrent;
      const std::int64_t inner = r.heads * r.head_dim, shared = 2 * r.groups * r.state;
      const std::int64_t in = 2 * inner + shared + r.heads;
      c.whole += norm;
      c.split += h * in + inner * h;
      c.split += (inner + shared) * (r.conv_kernel + 1);  // taps and a bias
      c.split += 3 * r.heads + inner;                     // A, D, the step's bias; the gated norm
      if (all_biased) c.split += in, c.whole += h;
    }
    if (name == "r" && !m.kinds[1].ffn) continue;
    c.whole += norm;
    const bool moe = m.moe && i >= m.moe->first_layer && i % m.moe->period == 0;
    const auto dense = [&](std::int64_t width) {
      c.split += h * width * (up + 1);
      if (all_biased) c.split += up * width, c.whole += h;
    };
    if (!moe) {
      dense(m.ffn.intermediate);
      continue;
    }
    c.whole += h * m.moe->experts + (m.moe->router_bias ? m.moe->experts : 0);
    if (all_biased) c.whole += m.moe->experts;
    if (m.moe->shared_width > 0) dense(m.moe->shared_width);
    c.split += m.moe->experts * h * m.moe->expert_width * (up + 1);
    if (all_biased) c.split += m.moe->experts * up * m.moe->expert_width, c.whole += m.moe->experts * h;
  }
  return c;
}

TEST(WeightsOracle, ParametersAreThoseOfTheCheckpoint) {
  EXPECT_TRUE(rc::check([] {
    const Model m = any_model();
    const Count c = checkpoint(m);
    RC_ASSERT(parameter_count(weight_tensors(m)) == c.split + c.whole);
  }));
}

TEST(WeightsOracle, RanksHoldTheirShareOfMatricesAndAllOfTheRest) {
  EXPECT_TRUE(rc::check([] {
    const Model m = any_model();
    const Count c = checkpoint(m);
    for (const std::int64_t tp : {2, 4})  // divides every width above
      RC_ASSERT(parameter_count(weight_tensors(m, tp)) * tp == c.split + c.whole * tp);
  }));
}

TEST(WeightsOracle, ExpertParallelRanksHoldWholeExpertsAndAsManyParameters) {
  EXPECT_TRUE(rc::check([] {
    Model m = any_model();
    RC_PRE(m.moe.has_value());
    m.biases = "none";
    for (const std::int64_t ep : {2, 4})
      RC_ASSERT(parameter_count(weight_tensors(m, 4, ep)) == parameter_count(weight_tensors(m, 4, 1)));
  }));
}

TEST(WeightsOracle, ANarrowerFormatShrinksBytesAndNoCount) {
  EXPECT_TRUE(rc::check([] {
    Model m = any_model();
    const std::vector<WeightTensor> wide = weight_tensors(m);
    RC_ASSERT(weight_bytes(wide) == 2 * parameter_count(wide));  // bf16
    m.precision.weights = m.precision.experts = "fp8";
    const std::vector<WeightTensor> narrow = weight_tensors(m);
    RC_ASSERT(parameter_count(narrow) == parameter_count(wide));
    RC_ASSERT(weight_bytes(narrow) < weight_bytes(wide));
    // Embedding, head, norms, biases and the router keep their two bytes.
    RC_ASSERT(weight_bytes(narrow) >=
              parameter_count(wide) + m.vocab * m.hidden * (m.tied_embeddings ? 1 : 2));
  }));
}

}  // namespace
}  // namespace tessera
