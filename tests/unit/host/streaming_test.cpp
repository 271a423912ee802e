// Streaming and row-moving programs on real numbers: gated activation, RMS norm with and without a residual,
// KV write into shuffled pages, copies between two cuts of the same rows.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/host/row_math.hpp"
#include "kernels/tiles/elementwise_program.hpp"

namespace tessera::host {
namespace {

float number(std::int64_t i) { return static_cast<float>(std::sin(0.7 * static_cast<double>(i))); }

// silu(x) y of two inputs.
struct GatedMath {
  using Cta = ElementwiseProgram::Cta;
  LocalTile gate, up;

  static bool keeps(Tensor) { return true; }
  void begin(const Cta&) {}
  void prologue(const Cta& c, const Sram& sram) {
    gate = sram.find(Tensor::input, 0, c.chunk), up = sram.find(Tensor::input, 1, c.chunk);
  }
  void step(const Cta&, std::int64_t, const Sram&) {}
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta&, const TileRef&, std::int64_t, std::int64_t col) const {
    return gate(0, col) / (1 + std::exp(-gate(0, col))) * up(0, col);
  }
};

TEST(HostStreaming, AGatedActivationTouchesEveryElementOnce) {
  const ElementwiseProgram program{.elements = 5000, .inputs = 2, .element_bytes = 4, .threads = 128};
  const int chunk = program.chunk_elements();  // 512
  HostMemory memory;
  const auto flat = [chunk](std::int64_t plane, std::int64_t row) { return plane * 5000 + row * chunk; };
  // The last chunk is shorter than a row of the view, so room is left behind it.
  memory[Tensor::input] = HostTensor(2 * 5000 + chunk, chunk, Format::fp32, 4, flat);
  memory[Tensor::output] = HostTensor(5000 + chunk, chunk, Format::fp32, 4, flat);
  for (std::int64_t i = 0; i < 10000; ++i)
    memory[Tensor::input].write(i / 5000, i % 5000 / chunk, i % 5000 % chunk, number(i));
  GatedMath math;
  const Traffic moved = run(program, math, memory);
  EXPECT_EQ(moved, traffic_of(program));
  for (std::int64_t i = 0; i < 5000; ++i) {
    const float x = number(i), y = number(5000 + i);
    ASSERT_FLOAT_EQ(memory[Tensor::output].at(0, i / chunk, i % chunk), x / (1 + std::exp(-x)) * y) << i;
  }
  EXPECT_TRUE(std::isnan(memory[Tensor::output].at(0, 5000 / chunk, 5000 % chunk)))
      << "nothing beyond the end";
}

// x / rms(x) * w, after adding the residual, which is written back.
struct NormMath {
  using Cta = NormProgram::Cta;
  std::vector<float> sum;
  LocalTile weight;
  double scale = 1;

  static bool keeps(Tensor) { return true; }
  void begin(const Cta&) {}
  void prologue(const Cta& c, const Sram& sram) {
    const LocalTile &x = sram.find(Tensor::input, 0, c.row), &residual = sram.find(Tensor::input, 1, c.row);
    weight = sram[Tensor::weight];
    double squares = 0;
    sum.clear();
    for (std::int64_t i = 0; i < x.ref.cols; ++i) {
      sum.push_back(x(0, i) + (residual.ref.cols > 0 ? residual(0, i) : 0.0f));
      squares += sum.back() * sum.back();
    }
    scale = 1 / std::sqrt(squares / static_cast<double>(x.ref.cols));
  }
  void step(const Cta&, std::int64_t, const Sram&) {}
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta&, const TileRef& ref, std::int64_t, std::int64_t col) const {
    const float x = sum[static_cast<std::size_t>(col)];
    return ref.tensor == Tensor::input ? x : static_cast<float>(x * scale) * weight(0, col);
  }
};

TEST(HostStreaming, ANormScalesEachRowAndKeepsTheSum) {
  for (const bool residual : {false, true}) {
    const NormProgram program{.rows = 5, .hidden = 96, .residual = residual, .element_bytes = 4};
    HostMemory memory;
    memory[Tensor::input] = HostTensor::planes(2, 5, 96, Format::fp32, 4);
    memory[Tensor::weight] = HostTensor::planes(1, 1, 96, Format::fp32, 4);
    memory[Tensor::output] = HostTensor::planes(1, 5, 96, Format::fp32, 4);
    for (int plane = 0; plane < (residual ? 2 : 1); ++plane)
      for (int row = 0; row < 5; ++row)
        for (int col = 0; col < 96; ++col)
          memory[Tensor::input].write(plane, row, col, number(500 * plane + 96 * row + col));
    for (int col = 0; col < 96; ++col)
      memory[Tensor::weight].write(0, 0, col, 1.0f + 0.01f * static_cast<float>(col));
    NormMath math;
    EXPECT_EQ(run(program, math, memory), traffic_of(program));
    for (int row = 0; row < 5; ++row) {
      const auto x = [&](int col) {
        return static_cast<double>(number(96 * row + col)) + (residual ? number(500 + 96 * row + col) : 0.0f);
      };
      double squares = 0;
      for (int col = 0; col < 96; ++col) squares += x(col) * x(col);
      for (int col = 0; col < 96; ++col) {
        const double expected = x(col) / std::sqrt(squares / 96) * (1 + 0.01 * col);
        ASSERT_NEAR(memory[Tensor::output].at(0, row, col), expected, 1e-5);
        if (residual) {
          ASSERT_NEAR(memory[Tensor::input].at(1, row, col), x(col), 1e-6);
        }
      }
    }
  }
}

TEST(HostStreaming, TheKvWriteFillsOnlyTheNewSlotsOfItsPages) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = 2;
  p.head_dim = 4, p.v_head_dim = 3;
  p.page_tokens = 4;
  p.sequences = {{3, 6}, {1, 1}};  // pages 2 and 0; page 1
  const std::vector<std::int64_t> table = {2, 0, 1};
  HostMemory memory;
  const auto paged = [&table](int width) {
    return [&table, width](std::int64_t plane, std::int64_t row) {
      const std::int64_t page = table[static_cast<std::size_t>(plane / 2 * 2 + row / 4)];
      return ((page * 4 + row % 4) * 2 + plane % 2) * width;
    };
  };
  memory[Tensor::k] = HostTensor(3 * 4 * 2 * 4, 4, Format::bf16, 2, paged(4));
  memory[Tensor::v] = HostTensor(3 * 4 * 2 * 3, 3, Format::bf16, 2, paged(3));
  memory[Tensor::k_new] = HostTensor::planes(1, 4, 2 * 4, Format::fp32, 2);
  memory[Tensor::v_new] = HostTensor::planes(1, 4, 2 * 3, Format::fp32, 2);
  for (int token = 0; token < 4; ++token) {
    for (int i = 0; i < 8; ++i) memory[Tensor::k_new].write(0, token, i, static_cast<float>(10 * token + i));
    for (int i = 0; i < 6; ++i) memory[Tensor::v_new].write(0, token, i, static_cast<float>(-10 * token - i));
  }
  const KvWrite program(p);
  KvWriteMath math(program);
  EXPECT_EQ(run(program, math, memory), traffic_of(program));
  // Token 1 of sequence 0 is position 4: slot 0 of its second page, page 0. Head 1 begins at column 4.
  EXPECT_EQ(memory[Tensor::k].at(1, 4, 2), 10 + 4 + 2);
  EXPECT_EQ(memory[Tensor::v].at(1, 4, 2), -10 - 3 - 2);
  EXPECT_EQ(memory[Tensor::k].at(2, 0, 0), 30) << "the only token of sequence 1";
  EXPECT_TRUE(std::isnan(memory[Tensor::k].at(0, 2, 0))) << "history is not touched";
  EXPECT_TRUE(std::isnan(memory[Tensor::k].at(0, 6, 0))) << "nor the rest of the page";
}

TEST(HostStreaming, CopiesKeepEveryRowInItsFlatPlace) {
  const RowCopy program{Tensor::q_input, Tensor::q, 22, 100, 22, 4, 2};  // 5 rows a CTA, planes of 4
  HostMemory memory;
  memory[Tensor::q_input] = HostTensor::planes(1, 22, 100, Format::fp32, 2);
  memory[Tensor::q] = HostTensor::planes(6, 4, 100, Format::fp32, 2);
  for (int row = 0; row < 22; ++row)
    for (int col = 0; col < 100; ++col)
      memory[Tensor::q_input].write(0, row, col, static_cast<float>(1000 * row + col));
  RowCopyMath math(program);
  EXPECT_EQ(run(program, math, memory), traffic_of(program));
  for (int row = 0; row < 22; ++row)
    for (int col = 0; col < 100; ++col)
      ASSERT_EQ(memory[Tensor::q].at(row / 4, row % 4, col), 1000 * row + col);
  EXPECT_TRUE(std::isnan(memory[Tensor::q].at(5, 2, 0)));
}

}  // namespace
}  // namespace tessera::host
