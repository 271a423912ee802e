// What one engine step runs, as aggregates, and what it costs. The scheduler never walks its batch to
// describe a step and a cost source never sees requests.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/cost/attention.hpp"

namespace tessera {

inline constexpr std::size_t kMaxWindows = 4;  // distinct window sizes one model may mix

// KV that several decodes of a step read in common: `groups` prefixes of `tokens` each, every one at the head
// of `readers` sequences.
struct SharedPrefixes {
  std::int64_t groups = 0, readers = 0, tokens = 0;
  [[nodiscard]] std::int64_t repeated() const { return groups * (readers - 1) * tokens; }
};

struct StepShape {
  std::int64_t decodes = 0;
  // Sum over decodes of the context each attends to, the new token included: full attention in [0], then
  // sum of min(context, W) for every window W the cost source declared.
  std::array<std::int64_t, 1 + kMaxWindows> decode_kv{};
  // Context lengths, longest first, all decodes: entry + `offset`, the new token included.
  std::span<const std::int32_t> lengths;
  std::int64_t offset = 0;
  SharedPrefixes shared;  // known only where the engine can make use of it
  std::span<const PrefillChunk> chunks;
  std::int64_t prefill_tokens = 0;
  std::int64_t sampled = 0;  // sequences whose logits are needed
  [[nodiscard]] std::int64_t tokens() const { return decodes + prefill_tokens; }
};

// Operator classes a step's time is split into.
enum class StepPart { gemm, attention, moe, elementwise, collective, head, sampler, host, count };
inline constexpr std::size_t kStepParts = static_cast<std::size_t>(StepPart::count);
const char* name_of(StepPart part);

// Where time went, summed over steps; microseconds.
struct StepTerms {
  std::array<double, kStepParts> part{};
  double compute = 0, hbm = 0, l2 = 0, link = 0, launch = 0, host = 0;
  double hbm_bytes = 0, link_bytes = 0;
  double cascade_steps = 0, cascade_saved_bytes = 0;  // KV reads that a shared prefix saved
  bool in_range = true;  // every operator inside the calibrated range of its source
  void charge(StepPart to, const OpTime& time);
  void add(const StepTerms& other, double times);
};

// Step i = 0, 1, .. of a decode-only batch that only grows by one token per sequence and step takes
// base + i * slope, exactly, for i < valid_steps. A step with prefill is valid once.
struct StepPrice {
  std::int64_t base_ps = 0;
  std::int64_t slope_ps = 0;
  std::int64_t valid_steps = 1;
  double hbm_bytes_slope = 0;  // what terms.hbm_bytes grows by per step
  StepTerms terms;             // of step 0
};

// One line for the report: which source priced an operator and how far to trust it.
struct CostOrigin {
  std::string op;
  std::string source;  // roofline | table | tile
  std::string status;  // calibrated | estimated | measured
  std::string detail;
};

class StepCost {
 public:
  virtual ~StepCost() = default;
  virtual StepPrice price(const StepShape& shape) = 0;
  // Window sizes whose sums the shape must carry, at most kMaxWindows.
  [[nodiscard]] virtual std::span<const std::int64_t> windows() const = 0;
  [[nodiscard]] virtual std::vector<CostOrigin> origins() const = 0;
  // Wall time of kernel simulations behind the prices: warm-up, as they are kept.
  [[nodiscard]] virtual double simulated_s() const { return 0; }
};

}  // namespace tessera
