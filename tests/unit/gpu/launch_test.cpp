// Tile programs on a card: bytes per level, occupancy, what the L2 saves.
#include "sim/gpu/launch.hpp"

#include <gtest/gtest.h>

#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_standard.hpp"
#include "kernels/tiles/elementwise_program.hpp"
#include "kernels/tiles/traffic.hpp"
#include "sim/gpu/program_sim.hpp"

namespace tessera {
namespace {

const Gpu& h100() {
  static const Gpu gpu = load_gpu("h100-sxm");
  return gpu;
}

AttentionProblem problem(std::int64_t sequences, std::int64_t queries, std::int64_t keys, int page) {
  AttentionProblem p;
  p.q_heads = 8, p.kv_heads = 2;
  p.page_tokens = page;
  p.sequences.assign(static_cast<std::size_t>(sequences), {queries, keys});
  return p;
}

template <class P>
void expect_counted_bytes(const P& program, const char* name) {
  L2Tags off = whole_l2(h100(), false);
  const LaunchResult r = simulate_program(h100(), program, off);
  const Traffic counted = traffic_of(program);
  EXPECT_EQ(r.hbm_read_bytes, counted.read_bytes()) << name;
  EXPECT_EQ(r.hbm_write_bytes, counted.written_bytes()) << name;
  EXPECT_EQ(r.loaded_bytes, counted.read_bytes()) << name;
  EXPECT_EQ(r.executed_flops, counted.mma_flops) << name;
  EXPECT_EQ(r.exponentials, counted.exps) << name;
}

TEST(Launch, WithL2OffTrafficIsThePrograms) {
  for (const auto& p : {problem(3, 700, 700, 0), problem(3, 1, 3001, 64), problem(2, 130, 1000, 16)}) {
    for (const char* kernel : {"fa2", "fa3"}) {
      const FlashCard card = FlashCard::of(h100());
      const FlashLaunch launch = kernel[2] == '2' ? fa2::launch(p, card) : fa3::launch(p, card);
      launch.for_each([](const char* name, const auto& program) { expect_counted_bytes(program, name); });
    }
  }
  AttentionProblem plain = problem(2, 300, 300, 0);
  const StandardAttention standard(plain, {.key_mask = true, .dropout = true});
  standard.for_each([](const char* name, const auto& program) { expect_counted_bytes(program, name); });
  GemmProgram gemm;
  gemm.m = 1000, gemm.n = 500, gemm.k = 1111, gemm.splits = 3;
  expect_counted_bytes(gemm, "gemm");
  ElementwiseProgram copy;
  copy.elements = 123456;
  expect_counted_bytes(copy, "copy");
}

TEST(Launch, AWindowAndRaggedLengthsAreCountedToTheByte) {
  AttentionProblem p = problem(1, 1, 1, 64);
  p.sequences = {{1, 77}, {900, 900}, {1, 5000}, {64, 4000}};
  for (const std::int64_t window : {0, 100, 1000}) {
    p.window = window;
    fa2::launch(p, FlashCard::of(h100())).for_each([](const char* name, const auto& program) {
      expect_counted_bytes(program, name);
    });
  }
}

TEST(Launch, L2SavesRereadsButNeverTheFirstRead) {
  GemmProgram gemm;
  gemm.m = gemm.n = gemm.k = 2048;
  L2Tags on = whole_l2(h100(), true);
  const LaunchResult r = simulate_program(h100(), gemm, on);
  const std::int64_t once = 2 * 2048 * 2048 * 2;
  EXPECT_GE(r.hbm_read_bytes, once);
  EXPECT_LE(r.hbm_read_bytes, once * 11 / 10) << "both operands fit L2 many times";
  EXPECT_GT(r.loaded_bytes, 8 * once);
}

TEST(Launch, KeysReadByManyRowBlocksComeFromHbmOnce) {
  AttentionProblem p = problem(1, 8192, 8192, 64);
  const FlashForward f = fa2::launch(p, FlashCard::of(h100())).forward;
  L2Tags on = whole_l2(h100(), true);
  const LaunchResult r = simulate_program(h100(), f, on);
  const std::int64_t kv = 8192LL * 2 * 2 * 128 * 2, q = 8192LL * 8 * 128 * 2;
  EXPECT_GE(r.hbm_read_bytes, kv + q);
  EXPECT_LE(r.hbm_read_bytes, (kv + q) * 21 / 20);
}

TEST(Launch, DecodeReadsItsKeysOnceWhateverTheSplits) {
  for (const std::int64_t keys : {1000, 9000, 100000}) {
    const AttentionProblem p = problem(1, 1, keys, 64);
    for (const FlashLaunch& launch :
         {fa2::launch(p, FlashCard::of(h100())), fa3::launch(p, FlashCard::of(h100()))}) {
      L2Tags on = whole_l2(h100(), true);
      const LaunchResult r = simulate_program(h100(), launch.forward, on);
      const std::int64_t kv = keys * 2 * 2 * 128 * 2;
      EXPECT_NEAR(static_cast<double>(r.hbm_read_bytes), static_cast<double>(kv),
                  0.01 * static_cast<double>(kv) + 1e5);
    }
  }
}

TEST(Launch, OccupancyIsTheLeastOfSharedMemoryRegistersAndThreads) {
  CtaResources r;
  r.threads = 128, r.registers_per_thread = 128, r.smem_bytes = 0;
  EXPECT_EQ(occupancy(h100(), r), 4) << "registers: 65,536 / (128 x 128)";
  r.registers_per_thread = 32;
  EXPECT_EQ(occupancy(h100(), r), 16) << "threads: 2,048 / 128";
  r.smem_bytes = 100 * 1024;
  EXPECT_EQ(occupancy(h100(), r), 2) << "shared memory: 228 KB";
  r.smem_bytes = 227 * 1024;
  EXPECT_EQ(occupancy(h100(), r), 1);
}

TEST(Launch, EqualDecodesAreLeaptOverWithTheSameResult) {
  AttentionProblem p = problem(400, 1, 2000, 64);
  const FlashForward f = fa3::launch(p, FlashCard::of(h100())).forward;
  ASSERT_TRUE(equal_ctas(f));
  const auto play = [&](std::vector<CtaSpan>* spans) {
    L2Tags on = whole_l2(h100(), true);
    return simulate_program(h100(), f, on, spans);
  };
  std::vector<CtaSpan> spans;
  const LaunchResult leap = play(nullptr), events = play(&spans);  // a timeline needs every CTA
  EXPECT_EQ(spans.size(), 800u);
  EXPECT_NEAR(static_cast<double>(leap.time_ps), static_cast<double>(events.time_ps),
              1e-5 * static_cast<double>(events.time_ps));
  EXPECT_EQ(leap.hbm_read_bytes, events.hbm_read_bytes);
  EXPECT_EQ(leap.steps, events.steps);
  EXPECT_LT(leap.events, events.events / 2);
}

TEST(Launch, UnequalDecodesAreNotLeaptOver) {
  AttentionProblem p = problem(400, 1, 2000, 64);
  p.sequences[7].keys = 1999;
  EXPECT_FALSE(equal_ctas(fa3::launch(p, FlashCard::of(h100())).forward));
}

}  // namespace
}  // namespace tessera
