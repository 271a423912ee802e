#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/base/text.hpp"
#include "models/hardware/list.hpp"
#include "models/transformer/kv_layout.hpp"
#include "models/transformer/kv_shapes.hpp"
#include "sim/cli/commands.hpp"
#include "sim/memory/replacement/registry.hpp"
#include "sim/serving/run_config.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

void gpus(bool json) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (!json)
    fmt::print("{:<14} {:<11} {:<19} {:>4} {:>9} {:>9} {:>10} {:>7} {:>9}\n", "gpu", "status", "kernels of",
               "SMs", "bf16 TF/s", "mem GiB", "HBM GB/s", "L2 MiB", "NVL GB/s");
  for (const GpuSummary& g : list_gpus()) {
    rows.push_back({{"name", g.name},
                    {"title", g.title},
                    {"architecture", g.architecture},
                    {"status", g.status},
                    {"kernels", g.kernels},
                    {"sms", g.sms},
                    {"datasheet_bf16_tflops", g.datasheet_bf16_tflops},
                    {"peak_bf16_tflops", g.peak_bf16_tflops},
                    {"memory_gib", g.memory_gib},
                    {"hbm_gb_s", g.hbm_gb_s},
                    {"l2_mib", g.l2_mib},
                    {"nvlink_gb_s", g.nvlink_gb_s},
                    {"gpus_per_node", g.gpus_per_node}});
    if (!json)
      fmt::print("{:<14} {:<11} {:<19} {:>4} {:>9.0f} {:>9.1f} {:>10.0f} {:>7.0f} {:>9.0f}\n", g.name,
                 g.status, g.kernels, g.sms, g.datasheet_bf16_tflops, g.memory_gib, g.hbm_gb_s, g.l2_mib,
                 g.nvlink_gb_s);
  }
  if (json) fmt::print("{}\n", rows.dump(2));
}

void models(bool json) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (!json)
    fmt::print("{:<26} {:>6} {:>14} {:>16} {:>12}\n", "model", "layers", "KV B/token", "parameters",
               "max context");
  for (const std::string& name : config_names("models")) {
    const Model model = load_model(name);
    const std::int64_t kv = make_kv_layout(model, resolve_kv_precision(model, "auto")).bytes_per_token();
    const std::int64_t parameters = parameter_count(weight_tensors(model));
    rows.push_back({{"name", name},
                    {"title", model.title},
                    {"layers", model.layers},
                    {"kv_bytes_per_token", kv},
                    {"parameters", parameters},
                    {"max_position", model.max_position},
                    {"source", model.source}});
    if (!json)
      fmt::print("{:<26} {:>6} {:>14} {:>16} {:>12}\n", name, model.layers, human_count(kv),
                 human_count(parameters), human_count(model.max_position));
  }
  if (json) fmt::print("{}\n", rows.dump(2));
}

void names(const std::vector<std::pair<std::string, std::string>>& entries, bool json) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [name, doc] : entries) {
    rows.push_back({{"name", name}, {"doc", doc}});
    if (!json) fmt::print("{:<16} {}\n", name, doc);
  }
  if (json) fmt::print("{}\n", rows.dump(2));
}

std::vector<std::pair<std::string, std::string>> config_folder(const char* folder) {
  std::vector<std::pair<std::string, std::string>> entries;
  for (const std::string& name : config_names(folder)) {
    const Yaml tree = load_config(folder, name);
    const Yaml* text = tree.find("title") != nullptr ? tree.find("title") : tree.find("source");
    entries.emplace_back(name, text != nullptr ? text->scalar : "");
  }
  return entries;
}

}  // namespace

int list_command(const std::string& what, bool json) {
  if (what == "gpus")
    gpus(json);
  else if (what == "models")
    models(json);
  else if (what == "policies") {
    std::vector<std::pair<std::string, std::string>> entries;
    for (const PolicyEntry& policy : replacement_policies()) entries.emplace_back(policy.name, policy.doc);
    names(entries, json);
  } else if (what == "schedulers") {
    names({{"vllm",
            "vLLM v1: running requests first, chunked prefill in one token budget, preemption by recompute"},
           {"sarathi",
            "Sarathi-Serve: the same budget, blocks for a whole prompt taken at once; see also "
            "engine.profile sarathi"},
           {"sglang",
            "SGLang: prompts first, in steps of their own up to the token budget; decodes wait meanwhile"}},
          json);
  } else if (what == "formats") {
    std::vector<std::pair<std::string, std::string>> entries;
    for (const TraceFormat& format : trace_formats()) entries.emplace_back(format.name, format.description);
    names(entries, json);
  } else if (what == "shapes") {
    std::vector<std::pair<std::string, std::string>> entries;
    for (const ShapePart& part : shape_parts()) entries.emplace_back(part.syntax, part.doc);
    for (const KvFormat& format : kv_formats()) entries.emplace_back(format.name, format.doc);
    names(entries, json);
  } else if (what == "engines")
    names(config_folder("engines"), json);
  else if (what == "fabrics")
    names(config_folder("fabrics"), json);
  else if (what == "tiers")
    names(config_folder("tiers"), json);
  else
    throw InputError(fmt::format(
        "list: '{}' is not known, expected gpus, models, shapes, policies, schedulers, formats, engines, "
        "fabrics or tiers{}",
        what,
        did_you_mean(what, {"gpus", "models", "shapes", "policies", "schedulers", "formats", "engines",
                            "fabrics", "tiers"})));
  return kOk;
}

}  // namespace tessera
