// The GEMM tile program on real numbers: every tile and split gives A B, and moves the bytes its closed form
// says.
#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <random>

#include "kernels/host/gemm.hpp"
#include "tests/support/attention_reference.hpp"
#include "tests/support/fixed_shapes.hpp"

namespace tessera {
namespace {

using host::Format;

std::vector<float> random_matrix(std::int64_t elements, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(static_cast<std::size_t>(elements));
  for (float& x : values)
    x = host::rounded(static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-52 - 1), Format::bf16);
  return values;
}

std::vector<double> product(const GemmProgram& p, const std::vector<float>& a, const std::vector<float>& b) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> c =
      Eigen::Map<const Matrix>(a.data(), p.m, p.k).cast<double>() *
      Eigen::Map<const Matrix>(b.data(), p.k, p.n).cast<double>();
  return {c.data(), c.data() + c.size()};
}

TEST(HostGemm, EveryTileAndSplitGivesTheProduct) {
  int split = 0, edges = 0;
  test::over_shapes(500, "gemm", [&] {
    GemmProgram p;
    p.m = *rc::gen::inRange(1, 150), p.n = *rc::gen::inRange(1, 150), p.k = *rc::gen::inRange(1, 200);
    p.tile = kGemmTiles[*rc::gen::inRange<std::size_t>(0, std::size(kGemmTiles))];
    p.splits = *rc::gen::element(1, 1, 2, 3, 4);
    split += p.splits > 1, edges += p.m % p.tile.bm != 0 && p.n % p.tile.bn != 0;
    const std::vector<float> a = random_matrix(p.m * p.k, 1), b = random_matrix(p.k * p.n, 2);
    const std::vector<double> expected = product(p, a, b);
    const host::GemmRun exact = host::run_gemm(p, a, b, Format::fp32);
    RC_ASSERT(test::relative_error(exact.c, expected) <= 1e-3);
    RC_ASSERT(test::relative_error(host::run_gemm(p, a, b, Format::bf16).c, expected) <= 4e-3);

    // Closed form: A once a column of tiles, B once a row of tiles, C once, partials written and read.
    Traffic t = traffic_of(p);
    if (p.splits > 1) t += traffic_of(SplitSumProgram{p.m, p.n, p.splits, p.output_bytes});
    RC_ASSERT(exact.traffic == t);
    RC_ASSERT(t.read_of(Tensor::a) == p.tile_cols() * p.m * p.k * 2);
    RC_ASSERT(t.read_of(Tensor::b) == p.tile_rows() * p.k * p.n * 2);
    RC_ASSERT(t.written_of(Tensor::c) == p.m * p.n * 2);
    const std::int64_t partials = p.splits > 1 ? p.splits * p.m * p.n * 4 : 0;
    RC_ASSERT(t.written_of(Tensor::c_partial) == partials);
    RC_ASSERT(t.read_of(Tensor::c_partial) == partials);
  });
  EXPECT_GT(split, 100);
  EXPECT_GT(edges, 100);
}

}  // namespace
}  // namespace tessera
