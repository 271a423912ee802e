#include "sim/gpu/tile_cost.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "sim/gpu/attention_sim.hpp"
#include "sim/gpu/gemm_sim.hpp"

namespace tessera {
namespace {

OpTime closed_form(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                   std::span<const PrefillChunk> chunks) {
  return mixed_attention_time(gpu, shape, decodes, chunks);
}

// Nearest power of `base`, as its exponent plus one; 0 for nothing.
std::uint64_t step_of(double value, double base) {
  return value < 0.5
             ? 0
             : 1 + static_cast<std::uint64_t>(std::max(0.0, std::round(std::log(value) / std::log(base))));
}
double centre(std::uint64_t step, double base) {
  return step == 0 ? 0 : std::pow(base, static_cast<double>(step - 1));
}

constexpr double kFine = 1.4142135623730951;  // square root of two
constexpr double kFinest =
    1.189207115002721;                // its square root: the longest sequence decides when a decode ends
constexpr double kSpreadStep = 0.25;  // of the lengths' deviation over their mean

// Of the lengths; those not known share what the others leave.
double deviation(const DecodeBatch& d, double mean) {
  const auto known = std::min<std::int64_t>(static_cast<std::int64_t>(d.longest.size()), d.sequences);
  double squares = 0, left = static_cast<double>(d.kv_tokens);
  for (std::int64_t i = 0; i < known; ++i) {
    const auto length = static_cast<double>(d.longest[static_cast<std::size_t>(i)] + d.offset);
    squares += (length - mean) * (length - mean), left -= length;
  }
  const auto others = static_cast<double>(d.sequences - known);
  if (others > 0) squares += others * (left / others - mean) * (left / others - mean);
  return std::sqrt(squares / static_cast<double>(d.sequences));
}

// Where in the table a batch lies; a centre is a batch again.
struct Cell {
  std::uint64_t decodes = 0, context = 0, skew = 0, spread = 0, tokens = 0, history = 0, chunks = 0;

  Cell(const DecodeBatch& d, std::span<const PrefillChunk> list) {
    if (d.sequences > 0) {
      const double mean = static_cast<double>(d.kv_tokens) / static_cast<double>(d.sequences);
      const double most = d.longest.empty() ? mean : static_cast<double>(d.longest.front() + d.offset);
      decodes = step_of(static_cast<double>(d.sequences), kFine);
      context = step_of(mean, kFine);
      skew = step_of(most / mean, list.empty() ? kFinest : kFine);
      spread = static_cast<std::uint64_t>(std::round(deviation(d, mean) / mean / kSpreadStep));
    }
    if (!list.empty()) {
      double all = 0, before = 0;
      for (const PrefillChunk& c : list)
        all += static_cast<double>(c.tokens), before += static_cast<double>(c.tokens * c.history);
      tokens = step_of(all, kFine);
      history = step_of(before / all, 2);
      chunks = step_of(static_cast<double>(list.size()), 2);
    }
  }
  [[nodiscard]] std::uint64_t key() const {
    std::uint64_t k = 0;
    for (const std::uint64_t part : {decodes, context, skew, spread, tokens, history, chunks})
      k = k * 128 + std::min<std::uint64_t>(part, 127);
    return k;
  }
  // Lengths, longest first: the longest is what it is, the others are log-logistic with the batch's
  // deviation, cut at the longest, and share what it leaves.
  [[nodiscard]] std::vector<std::int32_t> lengths() const {
    const auto n = static_cast<std::size_t>(std::llround(centre(decodes, kFine)));
    const double mean = centre(context, kFine),
                 ratio = n == 1 ? 1 : centre(skew, chunks == 0 ? kFinest : kFine);
    const double cv = static_cast<double>(spread) * kSpreadStep;
    std::vector<double> others(n > 0 ? n - 1 : 0);  // over the mean
    const auto spread_by = [&](double width) {
      double sum = 0, squares = (ratio - 1) * (ratio - 1);
      for (std::size_t i = 1; i < n; ++i) {
        const double u = 1 - (static_cast<double>(i) + 0.5) / static_cast<double>(n);
        sum += others[i - 1] = std::min(ratio, std::pow(u / (1 - u), width));
      }
      for (double& part : others) {
        part = std::clamp(part * (static_cast<double>(n) - ratio) / sum, 0.0, ratio);
        squares += (part - 1) * (part - 1);
      }
      return std::sqrt(squares / static_cast<double>(n));
    };
    double low = 0, high = 4;
    for (int i = 0; i < 10 && n > 1; ++i) {
      const double middle = (low + high) / 2;
      (spread_by(middle) < cv ? low : high) = middle;
    }
    if (n > 1) spread_by(low);
    const auto tokens_of = [&](double part) {
      return static_cast<std::int32_t>(std::max(1.0, std::round(mean * part)));
    };
    std::vector<std::int32_t> list;
    if (n > 0) list.push_back(tokens_of(ratio));
    for (const double part : others) list.push_back(tokens_of(part));
    return list;
  }
  [[nodiscard]] std::vector<PrefillChunk> prompts() const {
    const auto n = static_cast<std::size_t>(centre(chunks, 2));
    std::vector<PrefillChunk> list;
    for (std::size_t i = 0; i < n; ++i)
      list.push_back({std::max<std::int64_t>(1, std::llround(centre(tokens, kFine) / static_cast<double>(n))),
                      std::llround(centre(history, 2))});
    return list;
  }
};

// Adds its life to a sum of wall time.
class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  ~Stopwatch() { sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& sum_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::uint64_t shape_key(const AttentionShape& s) {
  std::uint64_t k = 1;
  for (const std::int64_t part : {std::int64_t{s.q_heads}, std::int64_t{s.kv_heads}, std::int64_t{s.head_dim},
                                  std::int64_t{s.v_head_dim}, s.window, static_cast<std::int64_t>(s.dtype),
                                  static_cast<std::int64_t>(s.kv_dtype)})
    k = (k ^ static_cast<std::uint64_t>(part)) * 0x9E3779B97F4A7C15ULL;
  return k;
}

bool equal_lengths(const DecodeBatch& d) {
  return d.longest.empty() ||
         (static_cast<std::int64_t>(d.longest.front()) + d.offset) * d.sequences == d.kv_tokens;
}

}  // namespace

OpTime TileCost::gemm(const GemmShape& shape) const {
  const Stopwatch watch(simulated_s_);
  return simulate_gemm(gpu_, shape).time;
}

OpTime TileCost::simulate(const AttentionShape& shape, const DecodeBatch& decodes,
                          std::span<const PrefillChunk> chunks) const {
  const Stopwatch watch(simulated_s_);
  AttentionProblem p;
  p.q_heads = shape.q_heads, p.kv_heads = shape.kv_heads;
  p.head_dim = shape.head_dim, p.v_head_dim = shape.v_head_dim;
  p.window = shape.window;
  p.element_bytes = bytes_of(shape.dtype), p.kv_element_bytes = bytes_of(shape.kv_dtype);
  p.page_tokens = shape.block_tokens;
  // Known lengths first; the others share what is left, remainder to the first of them.
  const auto known =
      std::min<std::int64_t>(static_cast<std::int64_t>(decodes.longest.size()), decodes.sequences);
  std::int64_t left = decodes.kv_tokens;
  for (std::int64_t i = 0; i < known; ++i) {
    const std::int64_t keys = decodes.longest[static_cast<std::size_t>(i)] + decodes.offset;
    p.sequences.push_back({1, keys});
    left -= keys;
  }
  const std::int64_t others = decodes.sequences - known;
  for (std::int64_t i = 0; i < others; ++i)
    p.sequences.push_back({1, std::max<std::int64_t>(1, left / others + (i < left % others ? 1 : 0))});
  // A batch stands in order of arrival, not of length: sorted, its tail would be too short.
  std::uint64_t state = 0x9E3779B97F4A7C15ULL;
  for (std::size_t i = p.sequences.size(); i > 1; --i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    std::swap(p.sequences[i - 1], p.sequences[(state >> 33) % i]);
  }
  for (const PrefillChunk& c : chunks) p.sequences.push_back({c.tokens, c.tokens + c.history});
  AttentionSimOptions options;
  options.kernel = gpu_.kernels->attention.kernel;
  options.l2 = shape.replayed ? L2Mode::warm : L2Mode::on;
  if (shape.block_tokens < 64) {
    const double most = gpu_.kernels->attention.paging_factor;
    options.paging =
        shape.block_tokens <= 16 ? most : 1 + (most - 1) * std::log2(64.0 / shape.block_tokens) / 2;
  }
  return simulate_attention(gpu_, p, options).time;
}

OpTime TileCost::attention(const AttentionShape& shape, const DecodeBatch& decodes,
                           std::span<const PrefillChunk> chunks) {
  const bool as_asked =
      chunks.empty() ? equal_lengths(decodes) : decodes.sequences == 0 && chunks.size() == 1;
  if (as_asked) return simulate(shape, decodes, chunks);
  const OpTime time = closed_form(gpu_, shape, decodes, chunks);
  return time * factor(shape, decodes, chunks);
}

double TileCost::factor(const AttentionShape& shape, const DecodeBatch& decodes,
                        std::span<const PrefillChunk> chunks) {
  const Cell cell(decodes, chunks);
  const auto [at, fresh] = factors_.try_emplace(cell.key() ^ shape_key(shape), 1.0);
  if (!fresh) return at->second;
  const std::vector<std::int32_t> lengths = cell.lengths();
  DecodeBatch batch;
  batch.sequences = static_cast<std::int64_t>(lengths.size());
  for (const std::int32_t length : lengths) batch.kv_tokens += length;
  batch.longest = lengths;
  const std::vector<PrefillChunk> prompts = cell.prompts();
  const double simulated = simulate(shape, batch, prompts).total;
  at->second = simulated / closed_form(gpu_, shape, batch, prompts).total;
  return at->second;
}

}  // namespace tessera
