// Serving differs from the tables the closed forms were fitted on: a layer's weights flush L2 between two
// uses of anything, so weights and KV always come from HBM. Recurrent layers are a floor only: state traffic
// and FLOPs at the calibrated fractions, no kernel model. Products with separate row counts for prompts and
// decodes (absorbed MLA) are priced with the attention they belong to.
#include "sim/serving/roofline_operators.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/collective.hpp"
#include "kernels/cost/elementwise.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/kv_convert.hpp"
#include "kernels/cost/mla.hpp"
#include "kernels/cost/moe.hpp"
#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/transformer/attention_span.hpp"
#include "sim/gpu/tile_cost.hpp"

namespace tessera {
namespace {

constexpr double kScanChunk = 64;  // prompt tokens of one recurrent-state update

OpTime both(OpTime a, const OpTime& b) { return a += b; }

// Query-key pairs of a chunk: query i sees history + i + 1 tokens, or as many entries as stand for them.
double visible_pairs(const PrefillChunk& chunk, const AttentionOp& op) {
  const auto s = static_cast<double>(chunk.tokens), h = static_cast<double>(chunk.history);
  const auto limit = static_cast<double>(op.read_limit > 0 ? op.read_limit : op.rule.slots);
  const auto d = static_cast<double>(op.rule.stride);
  if (limit <= 0) return (s * h + s * (s + 1) / 2) / d;
  const double growing = std::clamp(limit * d - h, 0.0, s);
  return (growing * h + growing * (growing + 1) / 2) / d + (s - growing) * limit;
}

class RooflineOperators final : public StepOperators {
 public:
  RooflineOperators(const Gpu& gpu, const RankModel& model, const EngineProfile& engine,
                    std::int64_t block_tokens, std::shared_ptr<const KernelTable> table, bool simulated)
      : gpu_(gpu), model_(model), engine_(engine), block_tokens_(block_tokens), table_(std::move(table)) {
    if (simulated) tile_ = std::make_unique<TileCost>(gpu_);
    if (engine.attention_backend != "auto") gpu_.kernels->attention.kernel = engine.attention_backend;
    for (const AttentionOp& op : model_.step.attention) {
      const std::int64_t span = attention_span(op);
      latent_ = latent_ || op.kind != AttentionOp::Kind::gqa;
      if (span == 0)
        has_full_ = true;
      else if (std::find(windows_.begin(), windows_.end(), span) == windows_.end())
        windows_.push_back(span);
    }
    if (windows_.size() > kMaxWindows)
      throw InputError(model.name +
                       ": mixes more than 4 window sizes, which the serving grain does not track");
    groups_.resize(1 + windows_.size());
    kv_bytes_.resize(groups_.size());
    for (const AttentionOp& op : model_.step.attention) {
      const std::size_t group = group_of(attention_span(op));
      groups_[group].push_back(op);
      const KvGroup& kv = model_.kv.groups[static_cast<std::size_t>(op.kv_group)];
      if (op.rows != Rows::prefill)
        kv_bytes_[group] += static_cast<double>(op.layers) * static_cast<double>(kv.entry_bytes) /
                            static_cast<double>(kv.rule.stride);
    }
    for (const WeightTensor& w : model_.weights)
      (w.name == "experts" ? expert_bytes_ : weight_read_) += static_cast<double>(w.bytes());
  }

  StepTerms dense(std::int64_t tokens, bool with_prefill) override {
    StepTerms terms;
    for (const GemmOp& op : model_.step.gemms)
      if (op.rows == Rows::tokens) terms.charge(StepPart::gemm, gemm(op, tokens));
    experts_and_elementwise(Rows::tokens, tokens, terms);
    for (const RecurrentOp& op : model_.step.recurrent)
      terms.charge(StepPart::elementwise, recurrent(op, tokens, with_prefill));
    const bool graph = padded_tokens(tokens, with_prefill) <= engine_.graphs.max_tokens &&
                       (!with_prefill || engine_.graphs.mixed_steps);
    for (const CollectiveOp& op : model_.step.collectives)
      if (op.rows == Rows::tokens) terms.charge(StepPart::collective, collective(op, tokens, graph, terms));
    OpTime fixed;
    fixed.total = fixed.launch = engine_.step_fixed_us;
    terms.charge(StepPart::host, fixed);
    terms.hbm_bytes += weight_read_;
    return terms;
  }

  StepTerms head(std::int64_t sampled) override {
    StepTerms terms;
    if (sampled == 0) return terms;
    for (const GemmOp& op : model_.step.gemms)
      if (op.rows == Rows::sampled) {
        OpTime time = gemm(op, sampled);
        time.in_range = true;  // a vocabulary wider than the tables is one fixed extrapolation: see origins()
        terms.charge(op.name == "lm_head" ? StepPart::head : StepPart::gemm, time);
      }
    experts_and_elementwise(Rows::sampled, sampled, terms);
    for (const CollectiveOp& op : model_.step.collectives)
      if (op.rows == Rows::sampled) terms.charge(StepPart::collective, collective(op, sampled, false, terms));
    terms.charge(StepPart::sampler, sampler_time(gpu_, sampled));
    return terms;
  }

  OpTime decode_attention(std::size_t group, const DecodeBatch& decodes) override {
    OpTime time;
    for (const AttentionOp& op : groups_[group])
      if (op.rows != Rows::prefill) time += attention(op, decodes, {}) * static_cast<double>(op.layers);
    if (engine_.paged_lanes > block_tokens_)  // a block fills only some of the lanes that read it
      time = time * (static_cast<double>(engine_.paged_lanes) / static_cast<double>(block_tokens_));
    if (group == own_rows_group()) time += own_rows(Rows::decode, decodes.sequences);
    return time;
  }

  OpTime prefill_attention(std::size_t group, std::span<const PrefillChunk> chunks) override {
    OpTime time;
    std::int64_t tokens = 0;
    for (const PrefillChunk& chunk : chunks) tokens += chunk.tokens;
    for (const AttentionOp& op : groups_[group])
      if (op.rows != Rows::decode)
        time += (op.rows == Rows::sampled ? last_tokens(op, chunks) : attention(op, {}, chunks)) *
                static_cast<double>(op.layers);
    if (group == own_rows_group()) time += own_rows(Rows::prefill, tokens);
    return time;
  }

  [[nodiscard]] bool one_kernel_for_mixed() const override {
    return !engine_.separate_prefill_kernel && !latent_;
  }

  OpTime mixed_attention(std::size_t group, const DecodeBatch& decodes,
                         std::span<const PrefillChunk> chunks) override {
    OpTime time;
    for (const AttentionOp& op : groups_[group])
      if (op.rows != Rows::sampled)
        time += attention(op, decodes, chunks) * static_cast<double>(op.layers);
      else
        time += both(attention(op, decodes, {}), last_tokens(op, chunks)) * static_cast<double>(op.layers);
    return time;
  }

  // Contexts under a window are nearly equal.
  [[nodiscard]] bool sees_skew(std::size_t group) const override { return group == 0 && !latent_; }

  [[nodiscard]] std::span<const std::int64_t> windows() const override { return windows_; }
  [[nodiscard]] bool has_full_attention() const override { return has_full_; }
  [[nodiscard]] double kv_bytes_per_token(std::size_t group) const override { return kv_bytes_[group]; }
  [[nodiscard]] std::int64_t padded_tokens(std::int64_t tokens, bool with_prefill) const override {
    return with_prefill && !engine_.graphs.mixed_steps ? tokens : engine_.padded_tokens(tokens);
  }

  [[nodiscard]] double simulated_s() const override { return tile_ ? tile_->simulated_s() : 0; }

  [[nodiscard]] std::vector<CostOrigin> origins() const override {
    const KernelBehaviour& k = *gpu_.kernels;
    const std::string status = gpu_.status;
    std::vector<CostOrigin> list;
    if (table_) {
      std::string operators = "gemm, attention";
      if (!model_.step.moe.empty()) operators += ", moe";
      if (!model_.step.collectives.empty()) operators += ", collective";
      list.push_back({operators, "table", "measured", "where the tables have the shape, else:"});
    }
    const char* grain = tile_ ? "tile" : "roofline";
    list.push_back({"gemm", grain, status, (tile_ ? k.tile.gemm : k.gemm).source});
    list.push_back({"attention", grain, status, (tile_ ? k.tile.attention : k.attention).source});
    if (!model_.step.moe.empty()) list.push_back({"moe", "roofline", status, k.moe.source});
    if (!model_.step.collectives.empty())
      list.push_back({"collective", "roofline", status, k.collectives.source});
    for (const GemmOp& op : model_.step.gemms)
      if (op.rows == Rows::sampled && (op.n > k.gemm.max_n || op.k > k.gemm.max_k))
        list.push_back({"lm_head", "roofline", status, "wider than any measured GEMM: extrapolated"});
    list.push_back({"elementwise, sampler", "roofline", "estimated", "launch gaps and bandwidth"});
    list.push_back(
        {"host", "engine profile", "stated",
         engine_.name + ": " + (engine_.host_source.empty() ? engine_.source : engine_.host_source)});
    return list;
  }

 private:
  std::size_t group_of(std::int64_t span) const {
    if (span == 0) return 0;
    return 1 + static_cast<std::size_t>(std::find(windows_.begin(), windows_.end(), span) - windows_.begin());
  }
  // The group that also carries the products with row counts of their own.
  std::size_t own_rows_group() const { return has_full_ ? 0 : 1; }

  OpTime gemm(const GemmOp& op, std::int64_t rows) {
    GemmShape shape;
    shape.m = rows;
    shape.n = op.n * op.batch;  // independent products side by side: the same work and bytes
    shape.k = op.k;
    shape.dtype = op.dtype;
    std::optional<OpTime> measured;
    if (table_ && op.batch == 1) measured = table_->gemm(gpu_, shape);
    const OpTime time = measured ? *measured : tile_ ? tile_->gemm(shape) : gemm_time(gpu_, shape);
    return time * static_cast<double>(op.layers);
  }

  void experts_and_elementwise(Rows rows, std::int64_t count, StepTerms& terms) {
    double touched = 0, held = 0;  // routed experts of this rank, all layers
    for (const MoeOp& op : model_.step.moe) {
      held += static_cast<double>(op.experts) / static_cast<double>(op.ep) * static_cast<double>(op.layers);
      if (op.rows != rows) continue;
      const MoeShape shape = shape_of(op, count);
      std::optional<OpTime> measured;
      if (table_) measured = table_->moe(gpu_, shape);
      terms.charge(StepPart::moe,
                   (measured ? *measured : moe_time(gpu_, shape)) * static_cast<double>(op.layers));
      if (op.dtype == DType::fp4 && gpu_.kernels->moe.mxfp4)
        terms.charge(StepPart::moe, elementwise_time(gpu_, engine_.mxfp4_routing_kernels, 0) *
                                        static_cast<double>(op.layers));
      touched += expert_load(shape).touched() * static_cast<double>(op.layers);
    }
    if (held > 0) terms.hbm_bytes += expert_bytes_ * touched / held;
    for (const ElementwiseOp& op : model_.step.elementwise)
      if (op.rows == rows)
        terms.charge(StepPart::elementwise,
                     elementwise_time(gpu_, static_cast<int>(op.kernels),
                                      static_cast<double>(op.bytes_per_token * count)) *
                         static_cast<double>(op.layers));
  }

  OpTime own_rows(Rows rows, std::int64_t count) {
    if (count == 0) return {};
    auto [at, fresh] = own_rows_memo_.try_emplace({rows, count});
    if (!fresh) return at->second;
    StepTerms terms;
    experts_and_elementwise(rows, count, terms);
    for (const GemmOp& op : model_.step.gemms)
      if (op.rows == rows) at->second += gemm(op, count);
    for (const CollectiveOp& op : model_.step.collectives)
      if (op.rows == rows) at->second += collective(op, count, false, terms);
    for (const double part : terms.part) at->second.total += part;
    return at->second;
  }

  // The last token of every chunk, as a decode: all that a layer runs which prompts do not enter.
  OpTime last_tokens(const AttentionOp& op, std::span<const PrefillChunk> chunks) {
    DecodeBatch batch;
    for (const PrefillChunk& chunk : chunks) {
      const std::int64_t span = attention_span(op);
      ++batch.sequences;
      const std::int64_t seen = chunk.history + chunk.tokens;
      batch.kv_tokens += span > 0 ? std::min(seen, span) : seen;
    }
    return attention(op, batch, {});
  }

  MoeShape shape_of(const MoeOp& op, std::int64_t tokens) const {
    MoeShape shape;
    shape.tokens = tokens;
    shape.hidden = op.hidden;
    shape.expert_width = op.expert_width;
    shape.experts = static_cast<int>(op.experts);
    shape.top_k = static_cast<int>(op.top_k);
    shape.tp = static_cast<int>(op.tp);
    shape.ep = static_cast<int>(op.ep);
    shape.gated = op.gated;
    shape.drawn = true;
    shape.dtype = op.dtype;
    return shape;
  }

  OpTime recurrent(const RecurrentOp& op, std::int64_t tokens, bool with_prefill) {
    const double updates =
        with_prefill ? static_cast<double>(tokens) / kScanChunk : static_cast<double>(tokens);
    OpTime time;
    time.hbm = 2 * updates * static_cast<double>(op.state_bytes) /
               (gpu_.hbm_bytes_per_us() * gpu_.kernels->gemm.hbm_fraction);
    time.compute = static_cast<double>(op.flops_per_token * tokens) /
                   (gpu_.peak_flops(model_.dtype) * gpu_.kernels->gemm.compute_fraction) * 1e6;
    time.launch = gpu_.graph_launch_us;
    time.total = std::max(time.hbm, time.compute) + time.launch;
    return time * static_cast<double>(op.layers);
  }

  OpTime collective(const CollectiveOp& op, std::int64_t rows, bool graph, StepTerms& terms) {
    const double bytes = static_cast<double>(op.bytes_per_row * rows);
    const int ranks = static_cast<int>(model_.parallel.tp);
    const OpTime one = op.kind == CollectiveOp::Kind::all_reduce ? all_reduce(ranks, bytes, graph)
                                                                 : all_gather(ranks, bytes);
    const double share = static_cast<double>(ranks - 1) / ranks;
    terms.link_bytes +=
        static_cast<double>(op.count) * bytes * share * (op.kind == CollectiveOp::Kind::all_reduce ? 2 : 1);
    return one * static_cast<double>(op.count);
  }

  OpTime all_reduce(int ranks, double bytes, bool graph) const {
    if (table_ && bytes > 0)
      if (const auto measured = table_->all_reduce(gpu_, ranks, bytes, graph)) return *measured;
    return all_reduce_time(gpu_, ranks, bytes, graph);
  }
  OpTime all_gather(int ranks, double bytes) const {
    if (table_ && bytes > 0)
      if (const auto measured = table_->collective(gpu_, Collective::all_gather, ranks, bytes, model_.dtype))
        return *measured;
    return nccl_time(gpu_, Collective::all_gather, ranks, bytes);
  }

  // The context as the kernel sees it: entries, not tokens.
  OpTime attention(const AttentionOp& op, DecodeBatch decodes, std::span<const PrefillChunk> chunks) {
    if (op.rule.strided() && decodes.sequences > 0) {
      decodes.kv_tokens = std::max(decodes.sequences, decodes.kv_tokens / op.rule.stride);
      decodes.longest = {};
    }
    if (op.rule.strided() && !chunks.empty()) {
      // Priced whole and cut to the pairs that are there.
      double all = 0, visible = 0;
      AttentionOp dense = op;
      dense.rule.stride = 1, dense.rule.slots = dense.read_limit = 0;
      for (const PrefillChunk& chunk : chunks)
        all += visible_pairs(chunk, dense), visible += visible_pairs(chunk, op);
      OpTime time = entries_attention(dense, {}, chunks) * (visible / all);
      return decodes.sequences > 0 ? time += entries_attention(op, decodes, {}) : time;
    }
    return entries_attention(op, decodes, chunks);
  }

  OpTime entries_attention(const AttentionOp& op, const DecodeBatch& decodes,
                           std::span<const PrefillChunk> chunks) {
    const OpTime time = kernel_attention(op, decodes, chunks);
    if (!op.converts) return time;
    const KvGroup& kv = model_.kv.groups[static_cast<std::size_t>(op.kv_group)];
    double entries = static_cast<double>(decodes.kv_tokens), full = 0, numbers = 0;
    const std::int64_t span = op.rule.strided() ? 0 : attention_span(op);
    for (const PrefillChunk& chunk : chunks)
      entries += static_cast<double>(span > 0 ? std::min(chunk.history, span) : chunk.history);
    for (const KvPart& part : kv.parts)
      full += static_cast<double>(part.full_bytes), numbers += static_cast<double>(part.numbers);
    if (entries == 0) return time;
    return converted_attention_time(gpu_, time, entries * full, entries * static_cast<double>(kv.entry_bytes),
                                    entries * numbers);
  }

  OpTime kernel_attention(const AttentionOp& op, const DecodeBatch& decodes,
                          std::span<const PrefillChunk> chunks) {
    if (op.kind != AttentionOp::Kind::gqa) return latent_attention(op, decodes, chunks);
    AttentionShape shape;
    shape.q_heads = static_cast<int>(op.q_heads);
    shape.kv_heads = static_cast<int>(op.kv_heads);
    shape.head_dim = static_cast<int>(op.head_dim);
    shape.v_head_dim = static_cast<int>(op.v_head_dim);
    shape.window = op.rule.strided() ? 0 : attention_span(op);
    shape.dtype = model_.dtype;
    shape.kv_dtype = op.kv_dtype;
    shape.block_tokens = static_cast<int>(block_tokens_);
    if (tile_) return tile_->attention(shape, decodes, chunks);
    if (chunks.empty()) return decode_time(shape, decodes);
    if (decodes.sequences == 0) return prefill_time(shape, chunks);
    return mixed_attention_time(gpu_, shape, decodes, chunks);
  }

  // Measured where the table has it, else the closed form.
  OpTime decode_time(const AttentionShape& shape, const DecodeBatch& decodes) const {
    if (table_)
      if (const auto measured = table_->decode(gpu_, shape, decodes)) return *measured;
    return decode_attention_time(gpu_, shape, decodes);
  }
  OpTime prefill_time(const AttentionShape& shape, std::span<const PrefillChunk> chunks) const {
    if (table_)
      if (const auto measured = table_->prefill(gpu_, shape, chunks)) return *measured;
    return prefill_attention_time(gpu_, shape, chunks);
  }

  OpTime latent_attention(const AttentionOp& op, const DecodeBatch& decodes,
                          std::span<const PrefillChunk> chunks) {
    OpTime time;
    const KvGroup& kv = model_.kv.groups[static_cast<std::size_t>(op.kv_group)];
    MlaShape shape;
    shape.heads = static_cast<int>(op.q_heads);
    shape.qk_dim = static_cast<int>(op.head_dim);
    shape.v_dim = static_cast<int>(op.v_head_dim);
    shape.record_bytes = static_cast<double>(kv.entry_bytes);
    if (op.converts) {
      shape.record_bytes = 0;
      for (const KvPart& part : kv.parts) shape.record_bytes += static_cast<double>(part.full_bytes);
    }
    shape.dtype = model_.dtype;
    if (op.rows != Rows::prefill && decodes.sequences > 0) time += mla_decode_time(gpu_, shape, decodes);
    if (op.rows != Rows::decode && !chunks.empty()) time += mla_prefill_time(gpu_, shape, chunks);
    return time;
  }

  Gpu gpu_;
  RankModel model_;
  EngineProfile engine_;
  std::int64_t block_tokens_;
  std::shared_ptr<const KernelTable> table_;  // null: closed forms alone
  std::unique_ptr<TileCost> tile_;            // products and attention simulated; null: closed forms
  std::vector<std::int64_t> windows_;
  bool has_full_ = false;
  bool latent_ = false;  // MLA: prompts and decodes run different kernels
  std::vector<std::vector<AttentionOp>> groups_;
  std::vector<double> kv_bytes_;
  double weight_read_ = 0;  // bytes of all weights but routed experts: read by every step
  double expert_bytes_ = 0;
  std::map<std::pair<Rows, std::int64_t>, OpTime> own_rows_memo_;
};

}  // namespace

std::unique_ptr<StepOperators> roofline_operators(const Gpu& gpu, const RankModel& model,
                                                  const EngineProfile& engine, std::int64_t block_tokens,
                                                  std::shared_ptr<const KernelTable> table, bool simulated) {
  return std::make_unique<RooflineOperators>(gpu, model, engine, block_tokens, std::move(table), simulated);
}

}  // namespace tessera
