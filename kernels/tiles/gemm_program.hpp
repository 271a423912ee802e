// C[m,n] = A[m,k] B[k,n] as one launch of a tiled GEMM, with k split over `splits` CTAs per output tile.
//
// CTA i owns one bm x bn tile of C for one split of k. Tiles are numbered so that CTAs running together form
// a nearly square patch of C and share their operands in L2: bands of `kBand` tile rows, walked column by
// column. A step loads bm x 64 of A and 64 x bn of B and multiplies; the epilogue stores the tile, or its
// fp32 partial when k is split (a second kernel adds the parts: kernels/cost/gemm.cpp, fix-up).
// Products count the padded tile, bytes only what lies inside the matrices.
// Source of tiles and splits: kernels/tiles/gemm_tiles.hpp. Left out: clusters with multicast, stream-K.
#pragma once

#include <algorithm>

#include "kernels/tiles/gemm_tiles.hpp"
#include "kernels/tiles/program.hpp"

namespace tessera {

struct GemmProgram {
  static constexpr std::int64_t kBand = 8;

  std::int64_t m = 1, n = 1, k = 1;
  GemmTile tile{128, 128};
  int splits = 1;
  double element_bytes = 2;
  double output_bytes = 2;

  [[nodiscard]] constexpr std::int64_t tile_rows() const { return ceil_div(m, tile.bm); }
  [[nodiscard]] constexpr std::int64_t tile_cols() const { return ceil_div(n, tile.bn); }
  [[nodiscard]] constexpr std::int64_t ctas() const { return tile_rows() * tile_cols() * splits; }
  static constexpr bool touched_once(Tensor t) { return t == Tensor::c || t == Tensor::c_partial; }
  [[nodiscard]] constexpr CtaOrder order() const { return CtaOrder::in_order; }
  [[nodiscard]] CtaResources resources() const {
    const int resident = static_cast<int>(ctas_per_sm(tile));
    const auto step_bytes = static_cast<std::int64_t>((tile.bm + tile.bn) * kGemmKStep * element_bytes);
    // Accumulators fill the registers that are left: half a file of them for the CTAs of one SM.
    return {.threads = tile.bm * tile.bn >= 128 * 128 ? 256 : 128,
            .registers_per_thread = 65536 / (resident * (tile.bm * tile.bn >= 128 * 128 ? 256 : 128)),
            .smem_bytes = 2 * step_bytes,
            .stages = 3};
  }

  // Where a CTA works.
  struct Cta {
    std::int64_t steps = 0;
    // Of the output tile that exist. Not side by side: written apart and compared at once, both would be
    // waited for.
    std::int32_t rows = 0;
    std::int64_t row = 0, col = 0, split = 0;  // of tiles
    std::int64_t first_k = 0, last_k = 0;      // elements [first, last)
    std::int32_t cols = 0;
  };
  // Whether two CTAs move and multiply the same, elsewhere.
  static constexpr bool alike(const Cta& x, const Cta& y) {
    return x.rows == y.rows && x.cols == y.cols && x.last_k - x.first_k == y.last_k - y.first_k;
  }
  // What does not depend on the CTA, worked out once a launch.
  struct Grid {
    std::int64_t tile_rows, tile_cols, tiles, split_k;
  };
  [[nodiscard]] constexpr Grid grid() const {
    return {tile_rows(), tile_cols(), tile_rows() * tile_cols(), k_per_split(k, splits)};
  }
  [[nodiscard]] constexpr Cta cta(std::int64_t number) const { return cta(number, grid()); }
  [[nodiscard]] constexpr Cta cta(std::int64_t number, const Grid& g) const {
    const std::int64_t split = splits == 1 ? 0 : quotient(number, g.tiles), at = number - split * g.tiles;
    const std::int64_t band = g.tile_rows <= kBand ? 0 : quotient(at, kBand * g.tile_cols);
    const std::int64_t rows = std::min(kBand, g.tile_rows - band * kBand);
    const std::int64_t inside = at - band * kBand * g.tile_cols;
    Cta c;
    c.col = rows == kBand ? inside / kBand : quotient(inside, rows);
    c.row = band * kBand + inside - c.col * rows, c.split = split;
    c.first_k = std::min(k, split * g.split_k);
    c.last_k = std::min(k, c.first_k + g.split_k);
    c.steps = ceil_div(c.last_k - c.first_k, kGemmKStep);
    c.rows = static_cast<std::int32_t>(std::min<std::int64_t>(tile.bm, m - c.row * tile.bm));
    c.cols = static_cast<std::int32_t>(std::min<std::int64_t>(tile.bn, n - c.col * tile.bn));
    return c;
  }

  template <class V>
  constexpr void prologue(const Cta&, V&) const {}
  template <class V>
  constexpr void step(const Cta& c, std::int64_t step, V& v) const {
    const std::int64_t k0 = c.first_k + step * kGemmKStep;
    const auto depth = static_cast<std::int32_t>(std::min<std::int64_t>(kGemmKStep, c.last_k - k0));
    v.load({Tensor::a, false, c.rows, depth, 0, c.row * tile.bm, k0, element_bytes});
    v.load({Tensor::b, false, depth, c.cols, 0, k0, c.col * tile.bn, element_bytes});
    v.mma(tile.bm, tile.bn, kGemmKStep);
  }
  template <class V>
  constexpr void epilogue(const Cta& c, V& v) const {
    const bool partial = splits > 1;
    v.store({partial ? Tensor::c_partial : Tensor::c, false, c.rows, c.cols, partial ? c.split : 0,
             c.row * tile.bm, c.col * tile.bn, partial ? 4.0 : output_bytes});
  }
};

static_assert(TileProgram<GemmProgram>);

}  // namespace tessera
