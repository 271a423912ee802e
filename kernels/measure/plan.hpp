// A plan: which kernels to measure at which shapes. YAML; every section is a list of grids, and a grid is the
// product of its lists:
//
//   name: decode
//   generation_attention:
//     - {num_heads: 32, num_key_value_heads: 8, head_dim: 128, batch_size: [1, 8, 64], past_kv_tokens: [1023,
//     8191]}
//
// Unknown keys, empty lists and shapes the kernels are not compiled for are InputErrors with their place.
#pragma once

#include <string>
#include <vector>

#include "kernels/measure/point.hpp"
#include "models/base/spec.hpp"

namespace tessera::measure {

using Integers = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

struct GemmGrid {
  Names gemm_dtype{"bfloat16"};
  Integers m, n, k;
  std::int64_t copies = 6;
  void describe(Fields& f);
};
struct AttentionGrid {
  std::int64_t num_heads = 32, num_key_value_heads = 8, head_dim = 128, window_size_tokens = 0;
  Names attn_dtype{"bfloat16"};
  Integers batch_size, isl_tokens, past_kv_tokens;
  std::int64_t copies = 1;
  void describe(Fields& f);
};
struct ContextGrid : AttentionGrid {
  void describe(Fields& f);
};
struct GenerationGrid : AttentionGrid {
  void describe(Fields& f);
};
struct StandardGrid : AttentionGrid {
  void describe(Fields& f);
};
struct BlockCopyGrid {
  Integers block_bytes, blocks;
  void describe(Fields& f);
};
struct HbmGrid {
  Names operation{"read", "write", "copy"};
  Integers bytes;
  void describe(Fields& f);
};
struct BytesGrid {
  Integers bytes;
  void describe(Fields& f);
};
struct LatencyGrid {
  Integers footprint_bytes, stride_bytes, sm{0};
  bool through_l1 = false;
  void describe(Fields& f);
};
struct SramGrid {
  Integers threads;
  void describe(Fields& f);
};
struct LaunchGrid {
  Names mode{"stream", "graph"};
  Integers launches{100};
  void describe(Fields& f);
};
struct HostCopyGrid {
  Names direction{"to_device", "to_host"};
  Integers bytes;
  void describe(Fields& f);
};
struct InFlightGrid {
  Integers ctas_per_4_sms, loads;
  void describe(Fields& f);
};
struct GatherGrid {
  Integers block_bytes, bytes;
  void describe(Fields& f);
};

struct Plan {
  std::string name = "plan";
  int warmup = 3;
  int repeats = 20;
  std::int64_t seed = 1;
  std::vector<GemmGrid> gemm;
  std::vector<ContextGrid> context_attention;
  std::vector<GenerationGrid> generation_attention;
  std::vector<StandardGrid> attention_standard;
  std::vector<BlockCopyGrid> kv_block_copy;
  std::vector<HbmGrid> hbm;
  std::vector<BytesGrid> l2;
  std::vector<LatencyGrid> latency;
  std::vector<SramGrid> sram;
  std::vector<LaunchGrid> launch;
  std::vector<HostCopyGrid> host_copy;
  std::vector<InFlightGrid> in_flight;
  std::vector<GatherGrid> kv_gather;
  void describe(Fields& f);
};

// A name under configs/measure or a path. A new section is a grid here, its describe() in plan.cpp, its line
// in plan_sections.hpp and its expand() in points.cpp.
Plan load_plan(const std::string& name_or_path);
Plan parse_plan(std::string_view text, const std::string& file);

Settings settings_of(const Plan& plan);

// Every point once, kernels taken in turn and each kernel's grid visited in an order that halves its gaps, so
// that a run cut short has seen all kernels over their whole range.
std::vector<Point> points_of(const Plan& plan);

// Seconds a point takes on a card of `speed` x 1 TB/s and 100 TFLOP/s, with the check on the host.
double estimated_seconds(const Point& point, const Settings& settings, double speed = 1);

}  // namespace tessera::measure
