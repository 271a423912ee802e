// What one rank of a parallel engine holds and runs.
//
// Modelled: tensor parallelism (heads, feed-forward width and vocabulary split; KV heads split or replicated;
// an MLA latent replicated), and expert parallelism inside it (ep divides tp: each rank keeps experts / ep,
// each split tp / ep ways). Refused with a reason: pipeline, context and data parallelism, which need
// schedules and exchanges that are not built yet. Every rank is alike, so one RankModel stands for all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/transformer/kv_layout.hpp"
#include "models/transformer/model.hpp"
#include "models/transformer/step_work.hpp"
#include "models/transformer/weights.hpp"

namespace tessera {

struct Parallel {
  std::int64_t tp = 1;  // tensor
  std::int64_t pp = 1;  // pipeline
  std::int64_t cp = 1;  // context
  std::int64_t ep = 1;  // expert
  std::int64_t dp = 1;  // data, inside one engine
  void describe(Fields& f);
  [[nodiscard]] std::int64_t ranks() const { return tp * pp * cp * dp; }
};

// Memory that is neither weight nor KV, e.g. the rotary table, sized by the longest position.
struct Buffer {
  std::string name;
  std::int64_t bytes = 0;
  std::string formula;
};

struct RankModel {
  std::string name;
  Parallel parallel;
  DType dtype = DType::bf16;
  KvPrecision kv_precision = DType::bf16;
  std::int64_t hidden = 0;
  std::int64_t vocab = 0;  // of the whole model: sampling sees all logits
  std::int64_t max_position = 0;
  std::int64_t ffn_width = 0;  // widest feed-forward block a token passes through, on this rank
  KvLayout kv;
  StepWork step;
  std::vector<WeightTensor> weights;
  std::vector<Buffer> buffers;

  [[nodiscard]] std::int64_t parameters() const { return parameter_count(weights); }
  [[nodiscard]] std::int64_t weight_bytes() const { return tessera::weight_bytes(weights); }
  [[nodiscard]] std::int64_t buffer_bytes() const;
};

// Throws InputError for what is not modelled or does not divide.
RankModel partition(const Model& model, const Parallel& parallel, const KvPrecision& kv_precision);

}  // namespace tessera
