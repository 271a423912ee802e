// All kernels of one attention call as a library launches them: KV write, copies, main kernel, combine.
//
//   const FlashLaunch launch = fa2::launch(problem, card);
//   launch.for_each([](const char* kernel, const auto& program) { ... });
//
// Rules of the choice (tile, packing, splits, CTA order) stand in attention_fa2.hpp and attention_fa3.hpp.
// Paged problems are run as vLLM does, contiguous ones as the libraries' own dense functions.
#pragma once

#include <optional>
#include <vector>

#include "kernels/tiles/attention_combine.hpp"
#include "kernels/tiles/attention_flash.hpp"
#include "kernels/tiles/row_programs.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

struct FlashLaunch {
  std::optional<KvWrite> kv_write;  // paged caches only: dense callers hand K and V over
  std::vector<RowCopy> copies_before, copies_after;
  FlashForward forward;
  std::optional<FlashCombine> combine;

  // In launch order: f(name, program).
  template <class F>
  void for_each(F&& f) const {
    if (kv_write) f("kv_write", *kv_write);
    for (const RowCopy& copy : copies_before) f("copy", copy);
    f("attention", forward);
    if (combine) f("combine", *combine);
    for (const RowCopy& copy : copies_after) f("copy", copy);
  }

  // Memory beyond inputs and outputs: log-sum-exps, partials, packed copies.
  [[nodiscard]] std::int64_t extra_bytes() const;
};

// What the libraries ask a card.
struct FlashCard {
  std::int64_t sms = 108;
  std::int64_t smem_per_cta = 166912, smem_per_sm = 167936;
  bool sm8x = false;  // compute capability 8.6 or 8.9

  static FlashCard of(const Gpu& gpu);
};

namespace fa2 {
FlashLaunch launch(const AttentionProblem& problem, const FlashCard& card);
}
namespace fa3 {
FlashLaunch launch(const AttentionProblem& problem, const FlashCard& card);
}

}  // namespace tessera
