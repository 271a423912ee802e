// The `table` source: measured kernel times, interpolated as utilisation.
// Equations and limits: kernel_table.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/measured_rows.hpp"

namespace tessera {

// Times of GEMM, decode attention and prefill attention measured on one card.
//
//   KernelTable table;
//   table.add_gemm(DType::bf16, 16, 4096, 4096, 14.2);
//   table.finish(h100);
//   if (auto time = table.gemm(h100, shape)) use(*time); else
//   use(gemm_time(h100, shape));
//
// A look-up is empty where the table has nothing of that kind: another dtype,
// head shape, head size or window, or another attention kernel than the
// measured card's.
class KernelTable {
 public:
  // How the public tables were measured, and so every row added here.
  static constexpr int kWeightCopies = 6;  // of a GEMM's weights cycling through L2
  static constexpr int kBlockTokens = 64;  // of a KV page

  void add_gemm(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k, double us);
  // Of the shape, heads, head_dim, window and kv_dtype count. `kv_tokens` per
  // sequence, with the new token.
  void add_decode(const AttentionShape& shape, std::int64_t sequences, std::int64_t kv_tokens, double us);
  // `tokens` new ones for each of `sequences`, without history.
  void add_prefill(const AttentionShape& shape, std::int64_t sequences, std::int64_t tokens, double us);
  // Turns times into utilisation of `measured_on`; no row can be added any
  // more.
  void finish(const Gpu& measured_on);
  [[nodiscard]] std::size_t size() const { return gemms_.size() + decodes_.size() + prefills_.size(); }

  [[nodiscard]] std::optional<OpTime> gemm(const Gpu& gpu, const GemmShape& shape) const;
  // Unless `shape.replayed`, only for batches that read at least kColdFactor
  // times the L2 size of KV, and from rows that did: smaller ones were measured
  // with KV in L2, where serving never finds it.
  [[nodiscard]] std::optional<OpTime> decode(const Gpu& gpu, const AttentionShape& shape,
                                             const DecodeBatch& decodes) const;
  // Only for chunks without history, as all rows are: utilisation does not
  // carry over to others.
  [[nodiscard]] std::optional<OpTime> prefill(const Gpu& gpu, const AttentionShape& shape,
                                              std::span<const PrefillChunk> chunks) const;

  static constexpr double kColdFactor = 1.5;

 private:
  struct GemmRow {
    DType dtype;
    std::int64_t m, n, k;
    double us;
  };
  struct AttentionRow {
    AttentionShape shape;
    std::int64_t sequences, tokens;
    double us;
  };
  struct GemmRows {
    MeasuredRows rows;
    MeasuredRange range;
  };
  using HeadShape = std::pair<int, int>;  // query, KV heads
  struct AttentionRows {
    MeasuredRows rows;
    MeasuredRows cold;  // those that read far more KV than L2 holds
    std::map<HeadShape, MeasuredRange> range;
  };
  struct AttentionKey {
    int head_dim;
    std::int64_t window;
    DType kv_dtype;
    auto operator<=>(const AttentionKey&) const = default;
  };
  static AttentionKey key_of(const AttentionShape& shape);

  std::vector<GemmRow> gemms_;
  std::vector<AttentionRow> decodes_, prefills_;
  std::map<DType, GemmRows> gemm_;
  std::map<AttentionKey, AttentionRows> decode_, prefill_;
  std::string attention_kernel_;  // of the measured card
  bool finished_ = false;
};

}  // namespace tessera
