// The CUDA kernels of attention, run thread by thread on the host, give softmax(Q K^T) V: over random shapes,
// in the grid, tiles, splits and packing of their tile programs, whatever the order of threads.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "kernels/measure/attention_bench.hpp"
#include "kernels/tiles/traffic.hpp"
#include "tests/support/emulated_machine.hpp"
#include "tests/support/fixed_shapes.hpp"

namespace tessera {
namespace {

using cuda::Float16;
using measure::FlashCall;

struct Shape {
  AttentionProblem problem;
  Float16 format = Float16::bf16;
};

Shape random_shape(bool decode) {
  Shape shape;
  AttentionProblem& p = shape.problem;
  p.kv_heads = *rc::gen::element(1, 2);
  p.q_heads = p.kv_heads * *rc::gen::element(1, 1, 2, 4, 7);
  p.head_dim = p.v_head_dim = *rc::gen::element(64, 128);
  p.window = *rc::gen::weightedElement<std::int64_t>({{3, 0}, {1, 1}, {1, 60}, {1, 200}});
  p.page_tokens = *rc::gen::element(16, 64);
  shape.format = *rc::gen::element(Float16::bf16, Float16::fp16);
  const int sequences = *rc::gen::inRange(1, 4);
  for (int s = 0; s < sequences; ++s) {
    const auto queries = decode ? 1 : *rc::gen::inRange<std::int64_t>(1, 90);
    p.sequences.push_back({queries, queries + *rc::gen::inRange<std::int64_t>(0, decode ? 700 : 200)});
  }
  return shape;
}

double tolerance(Float16 format) { return format == Float16::bf16 ? 1e-2 : 2e-3; }

void agrees(const Shape& shape) {
  test::EmulatedMachine machine;
  machine.seed = *rc::gen::inRange<std::uint64_t>(1, 1u << 30);
  FlashCard card = measure::flash_card(machine.device);
  card.sms = *rc::gen::element<std::int64_t>(4, 40);
  FlashCall call(machine, shape.problem, card, shape.format, machine.seed);
  call.poison();
  call.enqueue();
  RC_TAG(call.launch().combine ? "split" : call.launch().forward.packed ? "packed" : "plain");
  const double error = call.error(6, machine.seed);
  RC_LOG() << "error " << error;
  RC_ASSERT(error < tolerance(shape.format));
  // It loads the bytes its tile program loads, no more and no less.
  const int forward =
      call.launch().forward.problem.head_dim == 64
          ? shape.format == Float16::bf16 ? cuda::kernel_number<cuda::FlashForwardKernel<64, Float16::bf16>>()
                                          : cuda::kernel_number<cuda::FlashForwardKernel<64, Float16::fp16>>()
      : shape.format == Float16::bf16 ? cuda::kernel_number<cuda::FlashForwardKernel<128, Float16::bf16>>()
                                      : cuda::kernel_number<cuda::FlashForwardKernel<128, Float16::fp16>>();
  RC_ASSERT(machine.copied[forward] == traffic_of(call.launch().forward).read_bytes());
}

// Emulating every thread is slow, so shapes are few; every launch draws another order of threads.
constexpr int kShapes = 12;

TEST(CudaAttention, PrefillAgreesWithTheReference) {
  test::over_shapes(kShapes, "prefill", [] { agrees(random_shape(false)); });
}

TEST(CudaAttention, DecodeAgreesWithTheReference) {
  test::over_shapes(kShapes, "decode", [] { agrees(random_shape(true)); });
}

TEST(CudaAttention, UnfusedAgreesWithTheReference) {
  test::over_shapes(kShapes, "unfused", [] {
    Shape shape = random_shape(false);
    shape.problem.page_tokens = 0;
    test::EmulatedMachine machine;
    machine.seed = *rc::gen::inRange<std::uint64_t>(1, 1u << 30);
    StandardOptions options;
    options.sms = *rc::gen::element<std::int64_t>(1, 8);
    // Little shared memory gives fewer rows a CTA.
    options.smem_per_cta = *rc::gen::element<std::int64_t>(166912, 101376);
    measure::StandardCall call(machine, shape.problem, options, machine.seed);
    call.poison();
    call.enqueue();
    const double error = call.error(6, machine.seed);
    RC_LOG() << "error " << error;
    RC_ASSERT(error < 2e-2);
  });
}

// A row of scores too long for shared memory is read twice.
TEST(CudaAttention, UnfusedRowsThatDoNotFitAreReadTwice) {
  AttentionProblem p;
  p.head_dim = p.v_head_dim = 64;
  p.sequences = {{1, 26000}};
  test::EmulatedMachine machine;
  StandardOptions options;
  options.smem_per_cta = 101376;
  const StandardAttention launch(p, options);
  ASSERT_FALSE(launch.kernels[2].rows_fit);
  measure::StandardCall call(machine, p, options, 3);
  call.poison();
  call.enqueue();
  EXPECT_LT(call.error(1, 1), 2e-2);
}

}  // namespace
}  // namespace tessera
