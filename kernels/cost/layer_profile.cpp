#include "kernels/cost/layer_profile.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "models/base/check.hpp"

namespace tessera {

double Curve::at(double x, bool& in_range) const {
  TESSERA_CHECK(!points_.empty(), "a curve has points");
  if (points_.size() == 1) {
    in_range = in_range && x == points_.begin()->first;
    return points_.begin()->second;
  }
  auto high = points_.lower_bound(x);
  if (high == points_.end()) {
    in_range = false;
    --high;
  }
  if (high == points_.begin()) {
    in_range = in_range && x >= high->first;
    ++high;
  }
  const auto low = std::prev(high);
  const double share = (x - low->first) / (high->first - low->first);
  // A continued segment must not pass through zero.
  return std::max(low->second + share * (high->second - low->second), 0.1 * low->second);
}

void LayerProfile::add_dense(const std::string& layer, std::int64_t tokens, double us) {
  dense_[layer].add(static_cast<double>(tokens), us);
}
void LayerProfile::add_per_sequence(const std::string& layer, std::int64_t sequences, double us) {
  per_sequence_[layer].add(static_cast<double>(sequences), us);
}
void LayerProfile::add_attention(const AttentionPoint& point) { points_.push_back(point); }

void LayerProfile::Grid::build(const std::vector<std::vector<double>>& keys, const std::vector<double>& us,
                               const char* what) {
  if (keys.empty()) throw std::invalid_argument(std::string("the attention table has no rows for ") + what);
  const std::size_t dims = keys.front().size();
  axes.assign(dims, {});
  for (const auto& key : keys)
    for (std::size_t d = 0; d < dims; ++d) axes[d].push_back(key[d]);
  std::size_t cells = 1;
  for (auto& axis : axes) {
    std::sort(axis.begin(), axis.end());
    axis.erase(std::unique(axis.begin(), axis.end()), axis.end());
    cells *= axis.size();
  }
  values.assign(cells, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::size_t at = 0;
    for (std::size_t d = 0; d < dims; ++d) {
      const auto index = std::lower_bound(axes[d].begin(), axes[d].end(), keys[i][d]) - axes[d].begin();
      at = at * axes[d].size() + static_cast<std::size_t>(index);
    }
    values[at] = us[i];
  }
  // A hole takes its lower neighbour along the last axis that has one; grids end where memory did.
  for (std::size_t at = 0; at < cells; ++at) {
    std::size_t stride = 1;
    for (std::size_t d = dims; d-- > 0 && std::isnan(values[at]);) {
      if (at / stride % axes[d].size() > 0 && !std::isnan(values[at - stride]))
        values[at] = values[at - stride];
      stride *= axes[d].size();
    }
    if (std::isnan(values[at]))
      throw std::invalid_argument(std::string("the attention table lacks corner rows for ") + what);
  }
}

double LayerProfile::Grid::at(const std::vector<double>& x, bool& in_range) const {
  const std::size_t dims = axes.size();
  std::size_t low[4];
  double share[4];
  for (std::size_t d = 0; d < dims; ++d) {
    const auto& axis = axes[d];
    const auto above = std::upper_bound(axis.begin(), axis.end(), x[d]) - axis.begin();
    const auto last = static_cast<std::ptrdiff_t>(axis.size()) - 1;
    low[d] = static_cast<std::size_t>(
        std::clamp<std::ptrdiff_t>(above - 1, 0, std::max<std::ptrdiff_t>(0, last - 1)));
    share[d] = axis.size() == 1 ? 0 : (x[d] - axis[low[d]]) / (axis[low[d] + 1] - axis[low[d]]);
    if (x[d] < axis.front()) share[d] = 0;  // below the grid: the floor of the first cell
    if (x[d] > axis.back()) in_range = false;
  }
  double sum = 0;
  for (std::size_t corner = 0; corner < (std::size_t{1} << dims); ++corner) {
    double weight = 1;
    std::size_t index = 0;
    for (std::size_t d = 0; d < dims; ++d) {
      const bool high = (corner >> d & 1) != 0;
      weight *= high ? share[d] : 1 - share[d];
      index = index * axes[d].size() + std::min(low[d] + (high ? 1 : 0), axes[d].size() - 1);
    }
    if (weight != 0) sum += weight * values[index];
  }
  return sum;
}

void LayerProfile::finish() {
  std::vector<std::vector<double>> keys[3];
  std::vector<double> us[3];
  for (const AttentionPoint& p : points_) {
    const auto chunk = static_cast<double>(p.chunk), history = static_cast<double>(p.history);
    const auto decodes = static_cast<double>(p.decodes), context = static_cast<double>(p.context);
    if (p.chunk == 0 && p.decodes > 0) keys[0].push_back({decodes, context}), us[0].push_back(p.us);
    if (p.chunk > 0 && p.decodes == 0) keys[1].push_back({chunk, history}), us[1].push_back(p.us);
    if (p.chunk > 0 && p.decodes > 0)
      keys[2].push_back({chunk, history, decodes, context}), us[2].push_back(p.us);
  }
  decode_.build(keys[0], us[0], "decode-only batches");
  prefill_.build(keys[1], us[1], "prefill-only batches");
  mixed_.build(keys[2], us[2], "mixed batches");
  if (dense_.empty()) throw std::invalid_argument("no dense operator rows");
  points_.clear();
}

std::vector<std::string> LayerProfile::dense_layers() const {
  std::vector<std::string> names;
  for (const auto& [name, curve] : dense_) names.push_back(name);
  return names;
}

double LayerProfile::dense_us(const std::string& layer, double tokens, bool& in_range) const {
  return dense_.at(layer).at(tokens, in_range);
}
double LayerProfile::per_sequence_us(const std::string& layer, double sequences, bool& in_range) const {
  return per_sequence_.at(layer).at(sequences, in_range);
}

double LayerProfile::attention_us(double chunk, double history, double decodes, double context,
                                  bool& in_range) const {
  if (chunk <= 0) return decode_.at({decodes, context}, in_range);
  if (decodes <= 0) return prefill_.at({chunk, history}, in_range);
  return mixed_.at({chunk, history, decodes, context}, in_range);
}

}  // namespace tessera
