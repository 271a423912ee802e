// The MoE tables in bf16: fused Triton experts (Hopper, A100) and FlashInfer CUTLASS experts (RTX PRO 6000);
// and MXFP4 experts as vLLM runs gpt-oss on Hopper (OpenAI's Triton kernels, bf16 activations). fp8, int4 and
// Marlin experts are not modelled: those rows are counted but not used.
#include "validation/moe_validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "kernels/cost/moe.hpp"
#include "models/base/text.hpp"
#include "validation/fit_knobs.hpp"

namespace tessera {
namespace {

constexpr std::size_t kFitRows = 1500;

int small(const Row& row, const char* column) {
  const std::int64_t value = row.integer(column);
  if (value < 1 || value > 1'000'000)
    throw InputError(row.at(column),
                     fmt::format("{}: {} is out of range, expected 1 to 1,000,000", column, value));
  return static_cast<int>(value);
}

double power_law_of(const Row& row) {
  const std::string_view name = row.text("distribution");
  constexpr std::string_view kPrefix = "power_law_";
  if (name == "balanced") return 0;
  double alpha = 0;
  if (name.substr(0, kPrefix.size()) == kPrefix) {
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, alpha);
    if (error != std::errc{} || stop != end) alpha = 0;
  }
  if (!(alpha > 0 && alpha < 100))
    throw InputError(
        row.at("distribution"),
        fmt::format("distribution: '{}' is not known, expected balanced or power_law_ALPHA", name));
  return alpha;
}

MoeShape shape_of(const Row& row) {
  MoeShape s;
  s.tokens = small(row, "num_tokens");
  s.hidden = small(row, "hidden_size");
  s.expert_width = small(row, "inter_size");
  s.experts = small(row, "num_experts");
  s.top_k = small(row, "topk");
  s.tp = small(row, "moe_tp_size");
  s.ep = small(row, "moe_ep_size");
  if (s.top_k > s.experts)
    throw InputError(row.at("topk"), fmt::format("topk: {} is out of range, expected at most the {} of "
                                                 "num_experts",
                                                 s.top_k, s.experts));
  s.power_law = power_law_of(row);
  if (row.text("moe_dtype") == "w4a16_mxfp4") s.dtype = DType::fp4;
  if (s.experts % s.ep != 0)
    throw InputError(row.at("moe_ep_size"), "moe_ep_size: does not divide num_experts");
  s.gated = gated_in_tables(s.hidden, s.expert_width, s.experts);
  return s;
}

bool is_mxfp4(const Row& row) { return row.text("moe_dtype") == "w4a16_mxfp4"; }

bool covers(const Row& row) {
  return row.text("moe_dtype") == "bfloat16" ||
         (is_mxfp4(row) && row.text("kernel_source").find("oaitriton") != std::string_view::npos);
}

OpTime predict(const Gpu& gpu, const Row& row) { return moe_time(gpu, shape_of(row)); }

std::string shape_key(const Row& row) {
  return fmt::format("moe {} {} {} {} {} {} {} {}", row.key("num_tokens"), row.key("hidden_size"),
                     row.key("inter_size"), row.key("topk"), row.key("num_experts"), row.key("moe_tp_size"),
                     row.key("moe_ep_size"), row.key("distribution"));
}

std::string regime(const Row& row) {
  const std::int64_t m = row.integer("num_tokens");
  return fmt::format("{} ep{} {}", row.text("distribution") == "balanced" ? "balanced" : "power-law",
                     row.integer("moe_ep_size") == 1 ? "=1" : ">1",
                     m <= 16     ? "m<=16"
                     : m <= 256  ? "m<=256"
                     : m <= 2048 ? "m<=2048"
                                 : "m>2048");
}

KernelFit fit_rates(const Gpu& gpu, MoeRates& p, std::span<const Row> rows, bool mxfp4,
                    const FitControl& control) {
  std::vector<MoeShape> shapes;
  std::vector<ExpertLoad> loads;
  std::vector<double> measured;
  std::vector<Row> wanted;
  for (const Row& row : rows)
    if (is_mxfp4(row) == mxfp4) wanted.push_back(row);
  const std::size_t stride = std::max<std::size_t>(1, wanted.size() / kFitRows);
  for (std::size_t i = 0; i < wanted.size(); i += stride) {
    shapes.push_back(shape_of(wanted[i]));
    loads.push_back(expert_load(shapes.back()));
    measured.push_back(wanted[i].latency_us());
  }
  if (shapes.empty()) return {};
  return fit_knobs(
      {{"floor_us", &p.floor_us, 5, 80},
       {"permute_us", &p.permute_us, 0.1, 20},
       {"per_100_experts_us", &p.per_100_experts_us, 0.05, 20},
       {"compute_fraction", &p.compute_fraction, 0.2, 1, Scale::linear},
       {"hbm_fraction", &p.hbm_fraction, 0.5, 1, Scale::linear},
       {"l2_feed_gb_s", &p.l2_feed_gb_s, 2000, 30000},
       {"serial_ns_per_k", &p.serial_ns_per_k, 0.2, 20},
       {"wave_quantisation", &p.wave_quantisation, 0, 1, Scale::linear},
       {"elementwise_fraction", &p.elementwise_fraction, 0.3, 2}},
      measured, [&](std::size_t i) { return moe_time(gpu, shapes[i], loads[i]).total; }, {}, control);
}

KernelFit calibrate(Gpu& gpu, std::span<const Row> rows, const FitControl& control) {
  MoeParams& p = gpu.kernels->moe;
  KernelFit result = fit_rates(gpu, p, rows, false, control);
  if (std::any_of(rows.begin(), rows.end(), is_mxfp4)) {
    if (!p.mxfp4) {
      p.mxfp4 = p;
      p.mxfp4->all_assignments = false;  // OpenAI's kernels see the assignments of their own rank
    }
    result.append(fit_rates(gpu, *p.mxfp4, rows, true, control), "mxfp4.");
  }
  return result;
}

}  // namespace

KernelValidator moe_validator() {
  return {.name = "moe",
          .recognises = [](const MeasurementTable& t) { return t.find_column("moe_dtype") >= 0; },
          .columns = {"kernel_source", "moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk",
                      "num_experts", "moe_tp_size", "moe_ep_size", "distribution"},
          .covers = covers,
          .fitted = covers,
          .predict = predict,
          .shape_key = shape_key,
          .dtype = [](const Row& row) { return std::string(row.text("moe_dtype")); },
          .regime = regime,
          .calibrate = calibrate,
          .section = "moe",
          .source = [](KernelBehaviour& b) -> std::string& { return b.moe.source; },
          .add_to_table = [](KernelTable& table,
                             const Row& row) { table.add_moe(shape_of(row), row.latency_us()); },
          .look_up = [](const KernelTable& table, const Gpu& gpu,
                        const Row& row) { return table.moe(gpu, shape_of(row)); }};
}

}  // namespace tessera
