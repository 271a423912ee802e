// `explain kv --compare SHAPE,..`: a table or JSON of one model in several cache shapes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/serving/compare_shapes.hpp"
#include "sim/serving/run_config.hpp"

namespace tessera {
namespace {

constexpr const char* kDefaultGpu = "h100-sxm";

nlohmann::ordered_json to_json(const ShapeReport& r) {
  nlohmann::ordered_json out{{"shape", r.shape}, {"kv_dtype", r.kv_dtype}};
  if (!r.refusal.empty()) {
    out["refusal"] = r.refusal;
    return out;
  }
  out["bytes_per_token"] = r.bytes_per_token;
  out["bytes_at_context"] = r.bytes_at_context;
  out["decode_read_bytes"] = r.decode_read_bytes;
  out["seat_bytes"] = r.seat_bytes;
  out["weight_bytes"] = r.weight_bytes;
  out["kv_memory_bytes"] = r.kv_memory_bytes;
  out["max_batch"] = r.max_batch;
  out["max_context"] = r.max_context == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(r.max_context);
  out["batch"] = r.batch;
  out["step_ms"] = r.step_ms;
  out["decode_tokens_s"] = r.decode_tokens_s;
  out["prefill_ms"] = r.prefill_ms;
  out["attention_share"] = r.attention_share;
  out["weight_share"] = r.weight_share;
  out["reason"] = r.reason;
  return out;
}

void print(const ShapeReport& r) {
  if (!r.refusal.empty()) {
    fmt::print("{:<22} {:>10}  {}\n", r.shape, human_bytes(static_cast<double>(r.bytes_per_token)),
               r.refusal);
    return;
  }
  fmt::print("{:<22} {:>10} {:>10} {:>9} {:>13} {:>7} {:>9.2f} {:>10.0f} {:>11.1f}  {}\n", r.shape,
             human_bytes(static_cast<double>(r.bytes_per_token)),
             human_bytes(static_cast<double>(r.bytes_at_context)), human_count(r.max_batch),
             r.max_context == 0 ? "any" : human_count(r.max_context), human_count(r.batch), r.step_ms,
             r.decode_tokens_s, r.prefill_ms, r.reason);
}

}  // namespace

namespace {

// "4k,32k" -> {4096, 32768}
std::vector<std::int64_t> contexts_of(const std::string& text) {
  std::vector<std::int64_t> list;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    list.push_back(parse_tokens(text.substr(at, comma - at), "--context"));
    if (list.back() < 1 || list.back() > 1'000'000'000)
      throw InputError("--context: " + human_count(list.back()) + " tokens, expected 1 to 1,000,000,000");
    at = comma + 1;
  }
  return list;
}

void print_head(const Model& model, const CompareSetup& setup) {
  fmt::print("{} on {} x {}, {} tokens each, {} seats (bytes of one rank; decode rate of the engine)\n",
             model.name, setup.tp, setup.gpu.name, human_count(setup.context), setup.seats);
  fmt::print("{:<22} {:>10} {:>10} {:>9} {:>13} {:>7} {:>9} {:>10} {:>11}\n", "shape", "B/token", "sequence",
             "max batch", "max context", "batch", "step ms", "decode t/s", "prefill ms");
}

}  // namespace

int explain_kv_compare(const ExplainOptions& options, const Model& model) {
  CompareSetup setup;
  setup.gpu = load_gpu(options.gpu.empty() ? kDefaultGpu : options.gpu);
  setup.engine = load_engine_profile(kDefaultEngineProfile);
  setup.tp = options.tp;
  setup.block_tokens = setup.engine.block_tokens;
  setup.utilization = options.utilization;
  std::vector<ShapedModel> shapes;
  for (const std::string& shape : options.compare)
    shapes.push_back(apply_shape(model, shape, options.kv_dtype));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const std::int64_t context : contexts_of(options.context))
    for (const std::int64_t batch : options.batches) {
      setup.context = context;
      setup.batch = batch;
      setup.seats = std::max(options.seats, batch);
      if (!options.json) print_head(model, setup);
      for (const ShapedModel& shape : shapes) {
        const ShapeReport r = report_shape(setup, shape);
        if (!options.json) {
          print(r);
          continue;
        }
        rows.push_back(to_json(r));
        rows.back()["context"] = context;
      }
    }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  return kOk;
}

}  // namespace tessera
