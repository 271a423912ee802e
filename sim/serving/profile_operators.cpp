#include "sim/serving/profile_operators.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

#include "traces/line_reader.hpp"

namespace tessera {
namespace {

constexpr std::string_view kDense = "layer,tokens,time_us";
constexpr std::string_view kPerSequence = "layer,sequences,time_us";
constexpr std::string_view kAttention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us";

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

double number(std::string_view cell, const Location& at) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc{} || end != cell.data() + cell.size() || !std::isfinite(value) || value < 0)
    throw InputError(at, fmt::format("'{}' is not valid, expected a non-negative number", cell));
  return value;
}

std::int64_t count(std::string_view cell, const Location& at) {
  const double value = number(cell, at);
  if (value != std::floor(value) || value > 1e9)
    throw InputError(at, fmt::format("'{}' is not valid, expected a whole number up to 1e9", cell));
  return static_cast<std::int64_t>(value);
}

class ProfileOperators final : public StepOperators {
 public:
  ProfileOperators(LayerProfile profile, const RankModel& model, const EngineProfile& engine)
      : profile_(std::move(profile)),
        engine_(engine),
        kv_bytes_(static_cast<double>(model.kv.bytes_per_token())) {
    for (const AttentionOp& op : model.step.attention) layers_ += static_cast<double>(op.layers);
  }

  StepTerms dense(std::int64_t tokens, bool) override {
    StepTerms terms;
    bool in_range = true;
    for (const std::string& layer : profile_.dense_layers()) {
      const double us = profile_.dense_us(layer, static_cast<double>(tokens), in_range);
      const bool once = layer == "embedding" || layer == "final_layernorm";
      const bool gemm = layer.ends_with("_proj");
      const double times = once ? 1 : layer == "layernorm" ? 2 * layers_ : layers_;
      terms.part[static_cast<std::size_t>(gemm ? StepPart::gemm : StepPart::elementwise)] += us * times;
    }
    terms.part[static_cast<std::size_t>(StepPart::host)] += engine_.step_fixed_us;
    terms.in_range = in_range;
    return terms;
  }
  StepTerms head(std::int64_t sampled) override {
    StepTerms terms;
    bool in_range = true;
    const auto n = static_cast<double>(sampled);
    if (sampled > 0) {
      terms.part[static_cast<std::size_t>(StepPart::head)] = profile_.per_sequence_us("lm_head", n, in_range);
      terms.part[static_cast<std::size_t>(StepPart::sampler)] =
          profile_.per_sequence_us("sampler", n, in_range);
    }
    terms.in_range = in_range;
    return terms;
  }
  OpTime decode_attention(std::size_t, const DecodeBatch& decodes) override {
    OpTime time;
    time.total = layers_ * profile_.attention_us(0, 0, static_cast<double>(decodes.sequences), mean(decodes),
                                                 time.in_range);
    return time;
  }
  OpTime mixed_attention(std::size_t, const DecodeBatch& decodes,
                         std::span<const PrefillChunk> chunks) override {
    OpTime time;
    double us = 0;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const auto tokens = static_cast<double>(chunks[i].tokens),
                 history = static_cast<double>(chunks[i].history);
      if (i == 0) {
        us = profile_.attention_us(tokens, history, static_cast<double>(decodes.sequences), mean(decodes),
                                   time.in_range);
      } else {
        const double floor = profile_.attention_us(1, 0, 0, 0, time.in_range);
        us += std::max(0.0, profile_.attention_us(tokens, history, 0, 0, time.in_range) - floor);
      }
    }
    time.total = layers_ * us;
    return time;
  }
  OpTime prefill_attention(std::size_t group, std::span<const PrefillChunk> chunks) override {
    return mixed_attention(group, {}, chunks);
  }
  [[nodiscard]] bool one_kernel_for_mixed() const override { return true; }
  [[nodiscard]] bool sees_skew(std::size_t) const override { return false; }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] bool has_full_attention() const override { return true; }
  [[nodiscard]] double kv_bytes_per_token(std::size_t) const override { return kv_bytes_; }
  [[nodiscard]] std::int64_t padded_tokens(std::int64_t tokens, bool with_prefill) const override {
    return with_prefill && !engine_.graphs.mixed_steps ? tokens : engine_.padded_tokens(tokens);
  }
  [[nodiscard]] std::vector<CostOrigin> origins() const override {
    return {{"all operators", "table", "measured", "layer profile of this card, interpolated"}};
  }

 private:
  static double mean(const DecodeBatch& decodes) {
    return decodes.sequences > 0
               ? static_cast<double>(decodes.kv_tokens) / static_cast<double>(decodes.sequences)
               : 0;
  }
  LayerProfile profile_;
  EngineProfile engine_;
  double layers_ = 0;
  double kv_bytes_;
};

}  // namespace

bool is_layer_profile(const std::string& file) {
  LineReader lines({file, {}});
  std::string_view header;
  return lines.next(header) && (header == kDense || header == kPerSequence || header == kAttention);
}

LayerProfile read_layer_profile(const std::vector<std::string>& files) {
  LayerProfile profile;
  std::set<std::string, std::less<>> missing{"lm_head", "sampler"};
  for (const std::string& file : files) {
    LineReader lines({file, {}});
    std::string_view line;
    if (!lines.next(line)) throw InputError({file, 0, 0}, "is empty, expected a layer profile");
    const std::string header(line);
    if (header != kDense && header != kPerSequence && header != kAttention)
      throw InputError(lines.at(), fmt::format("not a layer profile, expected a header '{}', '{}' or '{}'",
                                               kDense, kPerSequence, kAttention));
    const std::size_t columns = split(header).size();
    while (lines.next(line)) {
      const std::vector<std::string_view> cells = split(line);
      if (cells.size() != columns)
        throw InputError(lines.at(),
                         fmt::format("{} cells, expected {} as in the header", cells.size(), columns));
      const double us = number(cells.back(), lines.at());
      const auto whole = [&](std::size_t i) { return count(cells[i], lines.at()); };
      if (header == kDense)
        profile.add_dense(std::string(cells[0]), whole(1), us);
      else if (header == kPerSequence)
        profile.add_per_sequence(std::string(cells[0]), whole(1), us), missing.erase(std::string(cells[0]));
      else
        profile.add_attention({whole(0), whole(1), whole(2), whole(3), us});
    }
  }
  const Location whole{files.empty() ? "cost.tables" : files.front(), 0, 0};
  try {
    profile.finish();
  } catch (const std::invalid_argument& error) {
    throw InputError(whole, std::string("incomplete layer profile: ") + error.what());
  }
  if (!missing.empty())
    throw InputError(whole, fmt::format("incomplete layer profile: no rows of {}, expected a file '{}'",
                                        *missing.begin(), kPerSequence));
  return profile;
}

std::unique_ptr<StepOperators> profile_operators(LayerProfile profile, const RankModel& model,
                                                 const EngineProfile& engine) {
  return std::make_unique<ProfileOperators>(std::move(profile), model, engine);
}

}  // namespace tessera
