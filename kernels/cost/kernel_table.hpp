// The `table` source: measured kernel times, interpolated as utilisation.
// Equations and limits: kernel_table.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/collective.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/measured_curve.hpp"
#include "kernels/cost/measured_rows.hpp"
#include "kernels/cost/moe.hpp"

namespace tessera {

// Times of GEMM, attention, routed experts and collectives measured on one card.
//
//   KernelTable table;
//   table.add_gemm(DType::bf16, 16, 4096, 4096, 14.2);
//   table.finish(h100);
//   if (auto time = table.gemm(h100, shape)) use(*time); else
//   use(gemm_time(h100, shape));
//
// A look-up is empty where the table has nothing of that kind: another dtype,
// head shape, head size or window, another attention kernel than the
// measured card's, another expert layer or split, another group of ranks.
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
  // One expert layer, split one way, over its token counts.
  void add_moe(const MoeShape& shape, double us);
  // One NCCL operation among `gpus` ranks over its bytes, and the frameworks' all-reduce.
  void add_collective(Collective op, int gpus, double bytes, DType dtype, double us);
  void add_all_reduce(int gpus, double bytes, bool graph, double us);
  // Turns times into utilisation of `measured_on`; no row can be added any
  // more.
  void finish(const Gpu& measured_on);
  [[nodiscard]] std::size_t size() const {
    return gemms_.size() + decodes_.size() + prefills_.size() + moes_.size() + collectives_.size() +
           all_reduces_.size();
  }

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

  // Drawn experts, which no row has, at the utilisation of the same layer under a power law, else balanced.
  [[nodiscard]] std::optional<OpTime> moe(const Gpu& gpu, const MoeShape& shape) const;
  [[nodiscard]] std::optional<OpTime> collective(const Gpu& gpu, Collective op, int gpus, double bytes,
                                                 DType dtype) const;
  [[nodiscard]] std::optional<OpTime> all_reduce(const Gpu& gpu, int gpus, double bytes, bool graph) const;

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
  struct MoeRow {
    MoeShape shape;
    double us;
  };
  struct CollectiveRow {
    Collective op;
    int gpus;
    double bytes;
    DType dtype;
    double us;
  };
  struct AllReduceRow {
    int gpus;
    double bytes;
    bool graph;
    double us;
  };
  // hidden, width, experts, top_k, tp, ep, gated, dtype, power law
  using MoeKey = std::tuple<std::int64_t, std::int64_t, int, int, int, int, bool, DType, double>;
  using CollectiveKey = std::tuple<Collective, int, bool>;  // operation, ranks, integers
  using AllReduceKey = std::pair<int, bool>;                // ranks, in a graph
  static MoeKey key_of(const MoeShape& shape);
  void finish_curves(const Gpu& measured_on);

  std::vector<GemmRow> gemms_;
  std::vector<AttentionRow> decodes_, prefills_;
  std::vector<MoeRow> moes_;
  std::vector<CollectiveRow> collectives_;
  std::vector<AllReduceRow> all_reduces_;
  std::map<MoeKey, MeasuredCurve> moe_;
  std::map<CollectiveKey, MeasuredCurve> collective_;
  std::map<AllReduceKey, MeasuredCurve> all_reduce_;
  std::map<DType, GemmRows> gemm_;
  std::map<AttentionKey, AttentionRows> decode_, prefill_;
  std::string attention_kernel_;  // of the measured card
  bool finished_ = false;
};

}  // namespace tessera
