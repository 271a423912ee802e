#include "kernels/tiles/attention_launch.hpp"

#include "kernels/tiles/attention_fa2.hpp"
#include "kernels/tiles/attention_fa3.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr int kRegisters = 65536;  // of an SM

struct Extent {
  std::int64_t sequences = 0, most_queries = 0, most_keys = 0;
  bool equal = true;   // all sequences alike
  bool decode = true;  // one query each

  explicit Extent(const AttentionProblem& p) : sequences(static_cast<std::int64_t>(p.sequences.size())) {
    TESSERA_CHECK(sequences > 0, "an attention launch has sequences");
    for (const AttentionSequence& s : p.sequences) {
      most_queries = std::max(most_queries, s.queries), most_keys = std::max(most_keys, s.keys);
      decode = decode && s.queries == 1;
      equal = equal && s.queries == p.sequences[0].queries && s.keys == p.sequences[0].keys;
    }
  }
};

// FA2 lays the queries of packed heads out anew, and undoes it for O and the log-sum-exps.
void add_copies(FlashLaunch& launch, const Extent& e, bool split) {
  const AttentionProblem& p = launch.forward.problem;
  const std::int64_t rows = e.sequences * p.q_heads;
  const RowCopy copy{Tensor::q_input, Tensor::q, rows, p.head_dim, rows, p.group(), p.element_bytes};
  const bool apart = p.kv_heads > 1 && e.sequences > 1;  // otherwise the packed view needs no copy
  if (apart) launch.copies_before.push_back(copy);
  launch.copies_after.push_back(
      {Tensor::o, Tensor::o_output, rows, p.v_head_dim, p.group(), rows, p.element_bytes});
  if (apart && !split)
    launch.copies_after.push_back({Tensor::lse, Tensor::lse_output, rows, 1, p.group(), rows, 4});
}

}  // namespace

FlashCard FlashCard::of(const Gpu& gpu) {
  const bool sm8x = gpu.architecture == "ada" || gpu.architecture == "ampere-ga10x";
  return {gpu.sms, gpu.smem_per_cta_bytes, gpu.smem_per_sm_bytes, sm8x};
}

std::int64_t FlashLaunch::extra_bytes() const {
  const AttentionProblem& p = forward.problem;
  std::int64_t tokens = 0;
  for (const AttentionSequence& s : p.sequences) tokens += s.queries;
  const std::int64_t rows = tokens * p.q_heads;
  std::int64_t bytes = rows * 4;
  if (combine) bytes += rows * forward.most_splits * (p.v_head_dim + 1) * 4;
  for (const auto* copies : {&copies_before, &copies_after})
    for (const RowCopy& c : *copies)
      bytes += static_cast<std::int64_t>(static_cast<double>(c.rows * c.cols) * c.element_bytes);
  return bytes;
}

namespace fa2 {

FlashLaunch launch(const AttentionProblem& problem, const FlashCard& card) {
  const Extent e(problem);
  const bool paged = problem.page_tokens > 0;
  FlashLaunch launch;
  FlashForward& f = launch.forward;
  f.problem = problem;
  f.packed = e.decode && packs_heads(problem.q_heads, problem.kv_heads, problem.window);
  f.tile = tile(problem.head_dim);
  f.split_from_key_zero = f.zeroes_empty_partials = true;
  // Ragged batches are split only in a packed decode.
  if (f.packed || (!paged && e.equal)) {
    const std::int64_t blocks = f.planes() * tiles_of(e.most_queries * f.group(), f.tile.m);
    f.most_splits = split_count(blocks, card.sms, tiles_of(e.most_keys, f.tile.n));
  }
  int threads = 128;
  if (f.most_splits > 1) {
    f.numbering = Numbering::rows_splits_heads_sequences;
  } else if (!paged) {
    const DenseTile dense =
        dense_tile(problem.head_dim, (problem.causal && e.most_queries > 1) || problem.window > 0, card.sm8x,
                   card.smem_per_cta, card.smem_per_sm);
    f.tile = dense.tile, threads = dense.threads;
  }
  // One buffer for K and one for V, but half a step ahead: V comes in under Q K^T, the next K under softmax
  // and P V.
  f.cta_resources = {threads, 255,
                     2 * (std::int64_t{f.tile.m} * problem.head_dim +
                          std::int64_t{f.tile.n} * (problem.head_dim + problem.v_head_dim)),
                     2};
  f.number_ctas();
  if (paged) launch.kv_write.emplace(problem);
  if (f.packed) add_copies(launch, e, f.most_splits > 1);
  if (f.most_splits > 1) {
    const int rows = problem.v_head_dim % 128 == 0 ? 4 : problem.v_head_dim % 64 == 0 ? 8 : 16;
    launch.combine = FlashCombine{.forward = f, .rows_per_cta = rows};
  }
  return launch;
}

}  // namespace fa2

namespace fa3 {
namespace {

// Equal dense sequences: one split count for all, static or longest-first order.
void plan_dense(FlashForward& f, const Extent& e, const FlashCard& card, bool local, bool fp8) {
  const AttentionProblem& p = f.problem;
  const bool causal = p.causal && e.most_queries > 1;  // the last query sees every key anyway
  const bool masks = causal || local;
  f.tile = dense_tile(p.head_dim, p.v_head_dim, causal, local, fp8);
  f.packed = p.group() > 1 && packs_dense(e.most_queries, p.group(), f.tile.m);
  if (one_warpgroup(p.head_dim, e.most_queries * f.group(), fp8)) f.tile.m = 64;
  const std::int64_t row_blocks = tiles_of(e.most_queries * p.group(), f.tile.m);
  const std::int64_t loaded = local ? std::min(e.most_keys, p.window + f.tile.m) : e.most_keys;
  const auto token_bytes = static_cast<std::int64_t>((p.head_dim + p.v_head_dim) * p.kv_element_bytes);
  f.most_splits = dense_splits(e.sequences * p.kv_heads, row_blocks, card.sms, tiles_of(loaded, f.tile.n),
                               e.most_keys * token_bytes, masks);
  if (f.most_splits > 1) {
    f.packed = p.group() > 1;
    f.numbering = Numbering::rows_splits_heads_sequences;
    f.cta_order = CtaOrder::in_order;
  } else if (masks) {
    f.section = section_planes(e.most_keys, token_bytes, f.packed ? 1 : p.group());
    f.numbering = Numbering::sections;
    f.cta_order = CtaOrder::work_queue;
  } else {
    f.numbering = Numbering::rows_splits_heads_sequences;
    f.cta_order = CtaOrder::persistent;
  }
}

// Paged or ragged: splits planned per sequence, longest rows first.
void plan_ragged(FlashForward& f, const Extent& e, const FlashCard& card, bool local, bool fp8) {
  const AttentionProblem& p = f.problem;
  const std::int64_t rows = e.most_queries * p.group();
  f.tile = tile(p.head_dim, rows, e.most_queries == 1, local, fp8);
  f.packed = true;
  // The host plans with the keys one row block can load, the device below with whole contexts.
  const std::int64_t loaded = local ? std::min(e.most_keys, p.window + f.tile.m) : e.most_keys;
  f.most_splits = split_cap(e.most_queries == 1, e.sequences, p.kv_heads, tiles_of(rows, f.tile.m), card.sms,
                            tiles_of(loaded, f.tile.n));
  f.numbering = Numbering::ragged;
  const double tile_bytes = f.tile.n * (p.head_dim + p.v_head_dim) * p.kv_element_bytes;
  if (p.causal || local) f.section_tiles = static_cast<std::int64_t>(kRaggedSection / tile_bytes);
  f.cta_order = CtaOrder::work_queue;
  std::int64_t block_tiles = 0;
  for (const AttentionSequence& s : p.sequences)
    block_tiles += tiles_of(s.queries * p.group(), f.tile.m) * tiles_of(s.keys, f.tile.n);
  const std::int64_t per_cta = tiles_per_cta(p.kv_heads, block_tiles, card.sms);
  for (const AttentionSequence& s : p.sequences)
    f.splits.push_back(fa3::splits_of(tiles_of(s.keys, f.tile.n), per_cta, f.most_splits));
}

}  // namespace

FlashLaunch launch(const AttentionProblem& problem, const FlashCard& card) {
  const Extent e(problem);
  const bool fp8 = problem.kv_element_bytes == 1;
  const bool local = problem.window > 0 && problem.window < e.most_keys;
  FlashLaunch launch;
  FlashForward& f = launch.forward;
  f.problem = problem;
  f.tiles_from_window = local;
  if (problem.page_tokens == 0 && e.equal)
    plan_dense(f, e, card, local, fp8);
  else
    plan_ragged(f, e, card, local, fp8);
  f.cta_resources = {threads(f.tile), kRegisters / threads(f.tile) / 8 * 8,
                     smem_bytes(f.tile, problem.head_dim, problem.v_head_dim, problem.kv_element_bytes), 2};
  f.cta_resources.registers_per_thread = std::min(f.cta_resources.registers_per_thread, 255);
  f.number_ctas();
  if (problem.page_tokens > 0) launch.kv_write.emplace(problem);
  if (f.most_splits > 1) {
    const int rows = problem.v_head_dim <= 64 ? 16 : 8;
    launch.combine = FlashCombine{.forward = f,
                                  .rows_per_cta = rows,
                                  .per_sequence = true,
                                  .threads = 256,
                                  .stages = 4,
                                  .blocks_per_sequence = tiles_of(e.most_queries * problem.q_heads, rows)};
  }
  return launch;
}

}  // namespace fa3
}  // namespace tessera
