// Fused and unfused attention as measured: the launch is that of fa2::launch or StandardAttention, kernel by
// kernel, the very tile programs that sim/gpu times.
#pragma once

#include <random>

#include "kernels/measure/point.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_standard.hpp"

namespace tessera::measure {

Bench context_attention_bench();     // prefill without history
Bench generation_attention_bench();  // one new token a sequence, windowed too
Bench attention_standard_bench();    // unfused

// Of a row of either of the first two.
AttentionProblem attention_problem(const Point& point);
FlashCard flash_card(const DeviceInfo& device);

// One paged attention call on the device: inputs, pages in random order, and the launches.
class FlashCall {
 public:
  FlashCall(Machine& machine, const AttentionProblem& problem, const FlashCard& card, cuda::Float16 format,
            std::uint64_t seed);
  ~FlashCall();
  FlashCall(FlashCall&&) noexcept;

  void poison();
  void enqueue();
  // Against softmax(Q K^T) V in double precision, over `rows` rows of O drawn by `seed`.
  double error(std::int64_t rows, std::uint64_t seed);
  [[nodiscard]] const FlashLaunch& launch() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class StandardCall {
 public:
  StandardCall(Machine& machine, const AttentionProblem& problem, const StandardOptions& options,
               std::uint64_t seed);
  ~StandardCall();
  StandardCall(StandardCall&&) noexcept;

  void poison();
  void enqueue();
  double error(std::int64_t rows, std::uint64_t seed);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Bytes a call allocates.
double flash_bytes(const AttentionProblem& problem);
double standard_bytes(const AttentionProblem& problem);

}  // namespace tessera::measure
