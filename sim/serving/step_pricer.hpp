// Prices steps from operator times, remembering what repeats.
//
// A step is: everything whose time depends on the token count alone (GEMMs, experts, elementwise,
// collectives; one memo per padded token count) + LM head and sampler (one memo per sampled count) +
// attention. Decode attention is kept as one curve per batch size over the mean context, knots a factor
// 2^(1/4) apart, linear between, plus what unequal contexts add, looked at again when the longest sequence
// or a sixteenth of the batch changed. A prefill chunk is kept as curves over its history, one per token
// count (every 16th above 128); several add up, less the floor they share. Steps that one kernel runs whole
// (FlashAttention-2 under vLLM v1) are computed directly. The error of all this against direct sums is
// tested.
//
// Cascade attention: a prefix common to several decodes is read once, as a chunk of as many tokens over it,
// and each decode attends to the rest of its own; the two parts are merged (the merge itself is left out).
// always: whenever a step says what it shares; when_faster: if that is predicted to take less time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cost/op_time.hpp"
#include "sim/serving/step.hpp"

namespace tessera {

// Times of one rank's operators, summed over the layers that run them. Implemented by the cost sources.
class StepOperators {
 public:
  virtual ~StepOperators() = default;
  // All operators whose time depends on the step's token count alone. with_prefill: the step is not a
  // replayed decode graph.
  virtual StepTerms dense(std::int64_t tokens, bool with_prefill) = 0;
  virtual StepTerms head(std::int64_t sampled) = 0;  // LM head and sampler
  // Attention of the layers of one group (see windows()); group 0 is full attention.
  virtual OpTime decode_attention(std::size_t group, const DecodeBatch& decodes) = 0;
  virtual OpTime prefill_attention(std::size_t group, std::span<const PrefillChunk> chunks) = 0;
  // Decodes and chunks in one step: the two kernels one after the other, or one kernel for both.
  [[nodiscard]] virtual bool one_kernel_for_mixed() const = 0;
  virtual OpTime mixed_attention(std::size_t group, const DecodeBatch& decodes,
                                 std::span<const PrefillChunk> chunks) = 0;
  // Whether decode_attention looks at the longest contexts of this group at all.
  [[nodiscard]] virtual bool sees_skew(std::size_t group) const = 0;
  [[nodiscard]] virtual std::span<const std::int64_t> windows() const = 0;  // of groups 1, 2, ..
  [[nodiscard]] virtual bool has_full_attention() const = 0;
  [[nodiscard]] virtual double kv_bytes_per_token(
      std::size_t group) const = 0;  // of one rank, all its layers
  // Graph capture rounds token counts up; the count a step of `tokens` really runs.
  [[nodiscard]] virtual std::int64_t padded_tokens(std::int64_t tokens, bool with_prefill) const = 0;
  [[nodiscard]] virtual std::vector<CostOrigin> origins() const = 0;
  // Wall time spent so far in simulations whose results are kept: the warm-up of the tile source.
  [[nodiscard]] virtual double simulated_s() const { return 0; }
};

enum class Cascade : std::uint8_t { off, always, when_faster };

class StepPricer final : public StepCost {
 public:
  explicit StepPricer(std::unique_ptr<StepOperators> operators, Cascade cascade = Cascade::off);

  StepPrice price(const StepShape& shape) override;
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return ops_->windows(); }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return ops_->origins(); }
  [[nodiscard]] double simulated_s() const override { return ops_->simulated_s(); }

 private:
  struct Memo {
    bool filled = false;
    StepTerms terms;
    double total_us = 0;
  };
  struct Knot {
    bool filled = false;
    OpTime time;
  };
  // Position on a decode curve: value and slope per token of mean context, and where the segment ends.
  struct OnCurve {
    OpTime time;
    double slope_us = 0;
    double segment_end = 0;
    double skew_us = 0;  // of time: what unequal contexts add
  };

  const Memo& dense(std::int64_t tokens, bool with_prefill);
  const Memo& head(std::int64_t sampled);
  const Knot& knot(std::size_t group, std::int64_t sequences, std::size_t index);
  OnCurve on_curve(std::size_t group, std::int64_t sequences, double mean_context);
  OnCurve decode(std::size_t group, const DecodeBatch& batch);
  OnCurve cascade(const DecodeBatch& batch, const SharedPrefixes& shared, double skew_us);
  double skew_us(std::size_t group, const DecodeBatch& batch, double even_us);
  OpTime prefill(std::size_t group, std::span<const PrefillChunk> chunks);
  OpTime one_chunk(std::size_t group, const PrefillChunk& chunk);
  const OpTime& chunk_at(std::size_t group, std::int64_t tokens, std::size_t history_knot);

  std::unique_ptr<StepOperators> ops_;
  Cascade cascade_;
  std::size_t groups_;
  std::vector<Memo> dense_[2];
  std::vector<Memo> head_;
  std::vector<std::vector<std::vector<Knot>>> curves_;  // [group][sequences][knot]
  std::vector<double> knots_;                           // of context
  struct Skew {
    std::int64_t sequences = 0, uses = 0;
    std::int32_t longest = 0;
    double us = 0;
  };
  std::vector<Skew> skew_;                              // [group]
  std::vector<std::vector<std::vector<Knot>>> chunks_;  // [group][tokens][history knot]
};

}  // namespace tessera
