#include "sim/serving/step_pricer.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

double sum_of(const StepTerms& terms) {
  double total = 0;
  for (const double part : terms.part) total += part;
  return total;
}

constexpr std::int64_t kExactTokens = 64, kFineTokens = 2048;
constexpr std::int64_t kExactChunk = 128, kChunkStep = 16, kShortHistory = 256, kLongHistory = 2048;
constexpr std::int64_t kSkewUses = 64;

std::int64_t to_ps(double us) { return microseconds(us).count(); }

}  // namespace

StepPricer::StepPricer(std::unique_ptr<StepOperators> operators, Cascade cascade)
    : ops_(std::move(operators)),
      cascade_(cascade),
      groups_(1 + ops_->windows().size()),
      curves_(groups_),
      skew_(groups_),
      chunks_(groups_) {
  TESSERA_CHECK(ops_->windows().size() <= kMaxWindows, "a model mixes few window sizes");
  knots_ = {1, 4, 8};
  for (double k = 16; k < 3e8; k *= std::sqrt(std::sqrt(2.0))) knots_.push_back(std::round(k));
}

const StepPricer::Memo& StepPricer::dense(std::int64_t tokens, bool with_prefill) {
  // No tile has fewer than 16 rows, so times move in steps much wider than these.
  std::int64_t padded = ops_->padded_tokens(tokens, with_prefill);
  if (padded > kExactTokens)
    padded = ceil_div(padded, padded > kFineTokens ? 32 : 8) * (padded > kFineTokens ? 32 : 8);
  std::vector<Memo>& memos = dense_[with_prefill ? 1 : 0];
  const auto at = static_cast<std::size_t>(padded);
  if (at >= memos.size()) memos.resize(at + 1);
  Memo& memo = memos[at];
  if (!memo.filled) memo = {true, ops_->dense(padded, with_prefill), 0}, memo.total_us = sum_of(memo.terms);
  return memo;
}

const StepPricer::Memo& StepPricer::head(std::int64_t sampled) {
  const auto at = static_cast<std::size_t>(sampled);
  if (at >= head_.size()) head_.resize(at + 1);
  Memo& memo = head_[at];
  if (!memo.filled) memo = {true, ops_->head(sampled), 0}, memo.total_us = sum_of(memo.terms);
  return memo;
}

const StepPricer::Knot& StepPricer::knot(std::size_t group, std::int64_t sequences, std::size_t index) {
  auto& by_size = curves_[group];
  const auto n = static_cast<std::size_t>(sequences);
  if (n >= by_size.size()) by_size.resize(n + 1);
  if (by_size[n].empty()) by_size[n].resize(knots_.size());
  Knot& knot = by_size[n][index];
  if (!knot.filled) {
    DecodeBatch batch;
    batch.sequences = sequences;
    batch.kv_tokens = sequences * static_cast<std::int64_t>(knots_[index]);
    knot = {true, ops_->decode_attention(group, batch)};
  }
  return knot;
}

StepPricer::OnCurve StepPricer::on_curve(std::size_t group, std::int64_t sequences, double mean_context) {
  const auto above = std::upper_bound(knots_.begin(), knots_.end() - 1, mean_context);
  const auto high = std::max<std::size_t>(1, static_cast<std::size_t>(above - knots_.begin()));
  const OpTime& a = knot(group, sequences, high - 1).time;
  const OpTime& b = knot(group, sequences, high).time;
  const double share = (mean_context - knots_[high - 1]) / (knots_[high] - knots_[high - 1]);
  OnCurve at;
  at.time = a * (1 - share);
  at.time += b * share;
  at.slope_us = (b.total - a.total) / (knots_[high] - knots_[high - 1]);
  at.segment_end = knots_[high];
  return at;
}

StepPricer::OnCurve StepPricer::decode(std::size_t group, const DecodeBatch& batch) {
  const double mean = static_cast<double>(batch.kv_tokens) / static_cast<double>(batch.sequences);
  OnCurve at = on_curve(group, batch.sequences, mean);
  at.segment_end -= mean;
  if (ops_->sees_skew(group)) {
    at.skew_us = skew_us(group, batch, at.time.total);
    at.time.total += at.skew_us;
    at.time.launch += at.skew_us;
  }
  return at;
}

// Shared prefixes once each, then every decode over what is its own.
StepPricer::OnCurve StepPricer::cascade(const DecodeBatch& batch, const SharedPrefixes& shared,
                                        double skew_us) {
  const std::int64_t own = batch.kv_tokens - shared.groups * shared.readers * shared.tokens;
  const double mean = static_cast<double>(own) / static_cast<double>(batch.sequences);
  OnCurve at = on_curve(0, batch.sequences, mean);
  at.segment_end -= mean;
  at.time.total += skew_us;  // as without
  at.time.launch += skew_us;
  const OpTime once = one_chunk(0, {shared.readers, shared.tokens});
  at.time += once;
  if (shared.groups > 1) {
    OpTime further = once;
    further += chunk_at(0, 1, 0) * -1;
    at.time += further * static_cast<double>(shared.groups - 1);
  }
  return at;
}

double StepPricer::skew_us(std::size_t group, const DecodeBatch& batch, double even_us) {
  if (batch.longest.empty() || batch.longest.front() == batch.longest.back()) return 0;
  Skew& kept = skew_[group];
  const bool like_before = kept.uses > 0 && kept.uses < kSkewUses && kept.longest == batch.longest.front() &&
                           16 * std::abs(kept.sequences - batch.sequences) <= kept.sequences;
  if (like_before) {
    ++kept.uses;
  } else {
    kept = {batch.sequences, 1, batch.longest.front(),
            std::max(0.0, ops_->decode_attention(group, batch).total - even_us)};
  }
  return kept.us;
}

const OpTime& StepPricer::chunk_at(std::size_t group, std::int64_t tokens, std::size_t history_knot) {
  auto& by_tokens = chunks_[group];
  const auto n = static_cast<std::size_t>(tokens);
  if (n >= by_tokens.size()) by_tokens.resize(n + 1);
  if (by_tokens[n].empty()) by_tokens[n].resize(knots_.size() + 1);
  Knot& knot = by_tokens[n][history_knot];
  if (!knot.filled) {
    const PrefillChunk chunk{tokens,
                             history_knot == 0 ? 0 : static_cast<std::int64_t>(knots_[history_knot - 1])};
    knot = {true, ops_->prefill_attention(group, {&chunk, 1})};
  }
  return knot.time;
}

// Chunks of one launch share its floor; beyond that their work adds up. Not so where CTAs walk a long
// history: those of the other chunks run beside them.
OpTime StepPricer::prefill(std::size_t group, std::span<const PrefillChunk> chunks) {
  if (chunks.size() > 1)
    for (const PrefillChunk& chunk : chunks)
      if (chunk.history > (chunk.tokens <= kExactChunk ? kShortHistory : kLongHistory))
        return ops_->prefill_attention(group, chunks);
  OpTime time = one_chunk(group, chunks.front());
  const OpTime floor = chunk_at(group, 1, 0);
  for (const PrefillChunk& chunk : chunks.subspan(1)) {
    time += one_chunk(group, chunk);
    time += floor * -1;
  }
  return time;
}

OpTime StepPricer::one_chunk(std::size_t group, const PrefillChunk& chunk) {
  const std::int64_t tokens =
      chunk.tokens <= kExactChunk ? chunk.tokens : ceil_div(chunk.tokens, kChunkStep) * kChunkStep;
  if (chunk.history == 0) return chunk_at(group, tokens, 0);
  const auto history = static_cast<double>(chunk.history);
  const auto above = std::upper_bound(knots_.begin(), knots_.end() - 1, history);
  const auto high = static_cast<std::size_t>(above - knots_.begin());  // knot 0 is no history at all
  const double low_at = high == 0 ? 0 : knots_[high - 1];
  const double share = (history - low_at) / (knots_[high] - low_at);
  OpTime time = chunk_at(group, tokens, high + 1) * share;
  return time += chunk_at(group, tokens, high) * (1 - share);
}

StepPrice StepPricer::price(const StepShape& shape) {
  const bool with_prefill = !shape.chunks.empty();
  const Memo& by_tokens = dense(shape.tokens(), with_prefill);
  const Memo& by_samples = head(shape.sampled);
  StepPrice price;
  price.terms = by_tokens.terms;
  price.terms.add(by_samples.terms, 1);
  double total_us = by_tokens.total_us + by_samples.total_us;
  double slope_us = 0;
  double segment_steps = 1e9;

  for (std::size_t group = ops_->has_full_attention() ? 0 : 1; group < groups_; ++group) {
    DecodeBatch batch;
    batch.sequences = shape.decodes;
    batch.kv_tokens = shape.decode_kv[group];
    batch.longest = shape.lengths;
    batch.offset = shape.offset;
    OpTime time;
    if (with_prefill && batch.sequences > 0 && ops_->one_kernel_for_mixed()) {
      time = ops_->mixed_attention(group, batch, shape.chunks);
    } else {
      if (batch.sequences > 0) {
        OnCurve at = decode(group, batch);
        if (group == 0 && cascade_ != Cascade::off && shape.shared.repeated() > 0) {
          const OnCurve shared = cascade(batch, shape.shared, at.skew_us);
          if (cascade_ == Cascade::always || shared.time.total < at.time.total) {
            at = shared;
            const double saved =
                static_cast<double>(shape.shared.repeated()) * ops_->kv_bytes_per_token(group);
            price.terms.cascade_steps = 1;
            price.terms.cascade_saved_bytes = saved;
            price.terms.hbm_bytes -= saved;
          }
        }
        time = at.time;
        slope_us += at.slope_us;
        segment_steps = std::min(segment_steps, at.segment_end);
      }
      if (with_prefill) time += prefill(group, shape.chunks);
    }
    price.terms.charge(StepPart::attention, time);
    total_us += time.total;
    double read = static_cast<double>(batch.kv_tokens);
    const std::int64_t window = group == 0 ? 0 : ops_->windows()[group - 1];
    for (const PrefillChunk& chunk : shape.chunks) {
      const std::int64_t seen = chunk.history + chunk.tokens;
      read += static_cast<double>(window > 0 ? std::min(seen, window + chunk.tokens) : seen);
    }
    // Read what is attended to, write what is new.
    price.terms.hbm_bytes += (read + static_cast<double>(shape.tokens())) * ops_->kv_bytes_per_token(group);
  }
  price.base_ps = to_ps(total_us);
  // Contexts under a window stop growing one by one, so a windowed batch is priced step by step.
  if (!with_prefill && groups_ == 1) {
    price.hbm_bytes_slope = static_cast<double>(shape.decodes) * ops_->kv_bytes_per_token(0);
    price.slope_ps = to_ps(slope_us);
    price.valid_steps = 1 + static_cast<std::int64_t>(std::max(0.0, std::floor(segment_steps)));
  }
  return price;
}

}  // namespace tessera
