#include "validation/runs/run_set.hpp"

#include <filesystem>

#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr RunSource kSources[] = {
    {"apex", "vLLM 0.6.0 serving Llama-3.1-70B on 8 H100, open loop (microsoft/apex_plus, MIT)", read_apex},
    {"aic",
     "vLLM, SGLang and TensorRT-LLM on H100 and H200, closed loop, TPOT (ai-dynamo/aiconfigurator, "
     "Apache-2.0)",
     read_aic_sample},
    {"splitwise", "static batches of Llama-2-70B on A100, 2023 (Mutinifni/splitwise-sim, MIT)",
     read_splitwise},
    {"llmservingsim",
     "vLLM 0.19 serving Llama-3.1-8B on RTX 4090 and RTX PRO 6000 (casys-kaist/LLMServingSim, MIT)",
     read_llmservingsim},
};

}  // namespace

std::span<const RunSource> run_sources() { return kSources; }

RunSet read_runs(const std::string& name_or_file, const std::string& data) {
  std::vector<std::string> names;
  for (const RunSource& source : kSources) {
    names.emplace_back(source.name);
    if (name_or_file != source.name) continue;
    if (data.empty())
      throw InputError("--data: missing, expected the folder that holds e2e/, for --runs " + name_or_file);
    return source.read(data);
  }
  if (std::filesystem::is_regular_file(name_or_file)) return read_run_file(name_or_file);
  throw InputError("--runs: '" + name_or_file +
                   "' is neither a file nor a set, expected a CSV of runs or one of " + join(names, ", ") +
                   did_you_mean(name_or_file, names));
}

RunConfig ConfigShelf::config(const std::string& gpu, const std::string& model, const std::string& profile) {
  if (!gpus_.contains(gpu)) gpus_.emplace(gpu, load_gpu(gpu));
  if (!models_.contains(model)) models_.emplace(model, load_model(model));
  if (!profiles_.contains(profile)) profiles_.emplace(profile, load_engine_profile(profile));
  RunConfig config;
  config.gpu = {gpu, gpus_.at(gpu)};
  config.model = {model, models_.at(model)};
  config.engine.profile = {profile, profiles_.at(profile)};
  return config;
}

}  // namespace tessera
