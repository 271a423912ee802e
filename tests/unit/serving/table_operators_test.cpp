// Serving steps by measured tables: experts and collectives at the tables' utilisation, everything the tables
// do not hold by the closed forms.
#include <gtest/gtest.h>

#include "sim/serving/roofline_operators.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kTokens = 64;

class TableOperators : public testing::Test {
 protected:
  [[nodiscard]] StepTerms step(std::shared_ptr<const KernelTable> table) const {
    return roofline_operators(gpu_, rank_, engine_, 16, std::move(table))->dense(kTokens, false);
  }
  // Of the layers the model has, split as it is split, balanced, twice as slow as the closed form says.
  void add_experts(KernelTable& table) const {
    for (const MoeOp& op : rank_.step.moe) {
      MoeShape s;
      s.tokens = kTokens, s.hidden = op.hidden, s.expert_width = op.expert_width, s.gated = op.gated;
      s.experts = static_cast<int>(op.experts), s.top_k = static_cast<int>(op.top_k);
      s.tp = static_cast<int>(op.tp), s.ep = static_cast<int>(op.ep), s.dtype = op.dtype;
      table.add_moe(s, 2 * moe_time(gpu_, s).total);
    }
  }
  static double part(const StepTerms& terms, StepPart which) {
    return terms.part[static_cast<std::size_t>(which)];
  }

  static Gpu idle(Gpu gpu) {  // as the tables were measured
    gpu.kernels->sustained_clock_fraction = 1;
    return gpu;
  }

  const Gpu gpu_ = idle(load_gpu("h100-sxm"));
  const RankModel rank_ = partition(load_model("qwen3-30b-a3b"), {.tp = 2}, DType::bf16);
  const EngineProfile engine_ = load_engine_profile("vllm-0.19");
};

TEST_F(TableOperators, PriceExpertsAndCollectivesByTheTablesThatHoldThem) {
  auto table = std::make_shared<KernelTable>();
  add_experts(*table);
  double bytes = 0;
  for (const CollectiveOp& op : rank_.step.collectives)
    if (op.rows == Rows::tokens && op.kind == CollectiveOp::Kind::all_reduce)
      bytes = static_cast<double>(op.bytes_per_row * kTokens);
  ASSERT_GT(bytes, 0);
  table->add_all_reduce(2, bytes, true, 3 * all_reduce_time(gpu_, 2, bytes, true).total);
  table->finish(gpu_);
  const StepTerms closed = step(nullptr), measured = step(table);
  ASSERT_GT(part(closed, StepPart::moe), 0);
  EXPECT_NEAR(part(measured, StepPart::moe) / part(closed, StepPart::moe), 2, 1e-9);
  EXPECT_NEAR(part(measured, StepPart::collective) / part(closed, StepPart::collective), 3, 1e-9);
  EXPECT_EQ(part(measured, StepPart::gemm), part(closed, StepPart::gemm));
}

TEST_F(TableOperators, FallBackOnTheClosedFormsForWhatNoTableHolds) {
  auto table = std::make_shared<KernelTable>();
  MoeShape other;
  other.tokens = kTokens, other.hidden = 4096, other.expert_width = 1024, other.experts = 16, other.top_k = 2;
  table->add_moe(other, 1e4);
  table->add_all_reduce(8, 1e5, true, 1e4);
  table->finish(gpu_);
  const StepTerms closed = step(nullptr), measured = step(table);
  for (std::size_t i = 0; i < kStepParts; ++i) EXPECT_EQ(measured.part[i], closed.part[i]) << i;
}

}  // namespace
}  // namespace tessera
