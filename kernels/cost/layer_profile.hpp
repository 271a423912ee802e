// A measured layer profile: the times of one layer's operators on one card, interpolated.
//
// Three tables: dense operators by token count, attention by (prefill chunk, its history, decodes, their
// mean context), per-sequence operators (LM head, sampler) by sequence count. Times are nearly affine in
// every axis between two neighbours of a factor-2 grid, so interpolation is multilinear in the raw axes.
// Outside the grid the last segment is continued along the axis and `in_range` says so.
// Left out: unequal contexts inside a batch, which no such profile records.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tessera {

// y over ascending x, linear between points, the end segments continued outwards.
class Curve {
 public:
  void add(double x, double y) { points_[x] = y; }
  [[nodiscard]] bool empty() const { return points_.empty(); }
  [[nodiscard]] double at(double x, bool& in_range) const;

 private:
  std::map<double, double> points_;
};

class LayerProfile {
 public:
  struct AttentionPoint {
    std::int64_t chunk, history, decodes, context;  // context: mean, the new token included
    double us;
  };

  void add_dense(const std::string& layer, std::int64_t tokens, double us);
  void add_per_sequence(const std::string& layer, std::int64_t sequences, double us);
  void add_attention(const AttentionPoint& point);
  // Builds the grid; throws std::invalid_argument naming what is missing.
  void finish();

  [[nodiscard]] std::vector<std::string> dense_layers() const;
  [[nodiscard]] double dense_us(const std::string& layer, double tokens, bool& in_range) const;
  [[nodiscard]] double per_sequence_us(const std::string& layer, double sequences, bool& in_range) const;
  // decodes = 0 or chunk = 0 leave that side out; not both.
  [[nodiscard]] double attention_us(double chunk, double history, double decodes, double context,
                                    bool& in_range) const;

 private:
  // A full grid over up to four axes, time in row-major order.
  struct Grid {
    std::vector<std::vector<double>> axes;
    std::vector<double> values;
    void build(const std::vector<std::vector<double>>& keys, const std::vector<double>& us, const char* what);
    [[nodiscard]] double at(const std::vector<double>& x, bool& in_range) const;
  };

  std::map<std::string, Curve> dense_, per_sequence_;
  std::vector<AttentionPoint> points_;
  Grid decode_, prefill_, mixed_;
};

}  // namespace tessera
