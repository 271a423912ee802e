#include "sim/serving/run_config.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "models/base/text.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

// Which config folder a scalar at this path names a file of.
const char* folder_at(std::string_view path) {
  if (path == "gpu") return "gpus";
  if (path == "model") return "models";
  if (path == "fabric") return "fabrics";
  if (path == "engine.profile") return "engines";
  if (path == "gpu.kernels") return "kernels";
  if (path == "memory.host_link") return "tiers";
  if (path.starts_with("memory.tiers.") && path.ends_with(".device")) return "tiers";
  return nullptr;
}

Yaml expand(std::string_view path, const Yaml& scalar) {
  const char* folder = folder_at(path);
  if (folder == nullptr) return scalar;
  return load_config(folder, scalar.scalar, scalar.at);
}

void apply(Yaml& tree, const std::string& override_text) {
  const std::size_t equals = override_text.find('=');
  const Location at{"--set " + override_text, 0, 0};
  if (equals == std::string::npos || equals == 0)
    throw InputError(at, "expected key=value, e.g. memory.kv_blocks=1000");
  const std::string path = override_text.substr(0, equals);
  const Yaml value = parse_yaml(override_text.substr(equals + 1), at.file);
  // engine.profile is named by a default, so it is not in the tree until someone says so.
  if (path.starts_with("engine.profile.")) {
    Yaml* engine = tree.find("engine");
    if (engine == nullptr || engine->find("profile") == nullptr) {
      Yaml name;
      name.kind = Yaml::Kind::scalar;
      name.scalar = kDefaultEngineProfile;
      name.at = at;
      set_path(tree, "engine.profile", name, expand);
    }
  }
  set_path(tree, path, value, expand);
}

std::vector<std::string> trace_format_names() {
  std::vector<std::string> names{"auto"};
  for (const TraceFormat& format : trace_formats())
    if (format.kind == TraceFormat::Kind::requests) names.emplace_back(format.name);
  return names;
}

std::string beside(const std::string& config_path, const std::string& file) {
  namespace fs = std::filesystem;
  if (file.empty() || fs::path(file).is_absolute()) return file;
  const fs::path candidate = fs::path(config_path).parent_path() / file;
  std::error_code ignored;
  return fs::exists(candidate, ignored) ? candidate.lexically_normal().string() : file;
}

}  // namespace

void EngineConfig::describe(Fields& f) {
  f.reference("profile", profile, "engines",
              {.doc = "host time, async depth, memory rule, graph sizes of an engine version"});
  f.choice("scheduler", scheduler, {"auto", "vllm", "sarathi", "sglang"},
           {.doc = "how steps are composed; auto: as the profile's engine does"});
  f.field("max_num_seqs", max_num_seqs,
          {.doc = "most requests running at once; null: the profile's", .min = 1, .max = 65536});
  f.field("max_num_batched_tokens", max_num_batched_tokens,
          {.doc = "token budget of a step; null: the profile's", .unit = "tokens", .min = 1, .max = 4194304});
  f.field("max_model_len", max_model_len,
          {.doc = "longest prompt + answer; null: KV capacity alone limits a request",
           .unit = "tokens",
           .min = 2});
  f.check(!max_num_seqs || !max_num_batched_tokens || *max_num_batched_tokens >= *max_num_seqs,
          "max_num_batched_tokens", "must be at least max_num_seqs, so that every decode fits a step");
}

void MemoryConfig::describe(Fields& f) {
  f.choice("allocator", allocator, {"paged", "contiguous-max", "contiguous-pow2", "contiguous-oracle", "vmm"},
           {.doc = "how KV memory is given out"});
  f.choice(
      "block_scope", block_scope, {"auto", "all-layers", "group"},
      {.doc = "whose KV a block holds: all layers', or a group's of equal layers (a hybrid manager); auto: "
              "groups where some layers keep a window"});
  f.check(block_scope != "group" || allocator == "paged", "block_scope",
          "groups of layers need allocator: paged");
  f.field(
      "snapshot_tokens", snapshot_tokens,
      {.doc =
           "a recurrent state is kept for prefix hits every so many tokens (block_scope: group); null: 1024",
       .unit = "tokens",
       .min = 1,
       .max = 1e9});
  f.field("reuse_passed", reuse_passed,
          {.doc = "pages a window has passed are overwritten first, not last (block_scope: group)"});
  f.field("block_tokens", block_tokens,
          {.doc = "tokens of one KV block; null: the profile's", .unit = "tokens", .min = 1, .max = 4096});
  f.field("gpu_memory_utilization", gpu_memory_utilization,
          {.doc = "share of the GPU's memory the engine may use", .min = 0.01, .max = 1});
  f.field("kv_blocks", kv_blocks,
          {.doc = "KV blocks as the engine reports them; null: derived from the hardware and printed",
           .min = 1,
           .max = 4e9});
  f.choice("kv_dtype", kv_dtype, kv_format_names(),
           {.doc = "number format of the KV cache; auto: the model's"});
  f.choice("prefix_cache", prefix_cache, {"hash", "radix", "off"}, {.doc = "reuse of equal prompt prefixes"});
  f.choice(
      "cache_salt", cache_salt, {"tenant", "session", "off"},
      {.doc = "whose requests never share a prefix with others': the trace's tenants, its sessions, or all "
              "may share"});
  f.group("vmm", vmm, {.doc = "mapped memory (allocator: vmm)"});
  movement.describe(f);
  f.check(!movement.moves() || allocator == "paged", movement.tiers.empty() ? "preemption" : "tiers",
          "KV moves block by block, expected allocator: paged");
  f.check(!movement.moves() || prefix_cache != "radix", "prefix_cache",
          "KV that moves is found by its blocks' hashes, expected hash or off");
  f.check(!movement.moves() || block_scope != "group", "block_scope",
          "moved blocks span all layers, expected block_scope: all-layers");
}

void VmmConfig::describe(Fields& f) {
  f.field("page_kib", page_kib,
          {.doc = "page of mapped memory: 2048 is CUDA's own; 64, 128 and 256 need a patched driver",
           .unit = "KiB",
           .min = 4,
           .max = 1048576});
  f.choice("tensors", tensors, {"layer", "all-layers"},
           {.doc = "K and V of each layer grow by pages of their own, or K and V of all layers in one each"});
  f.field("map_us", map_us,
          {.doc = "to map one page; null: 40 for pages of 2 MiB and more, else 10",
           .unit = "us",
           .min = 0,
           .max = 1e4});
  f.field("unmap_us", unmap_us,
          {.doc = "to unmap one page; null: as map_us", .unit = "us", .min = 0, .max = 1e4});
  f.field("defer_free", defer_free, {.doc = "pages of finished requests stay mapped for the next ones"});
  f.field("map_ahead", map_ahead, {.doc = "what decodes need next is mapped while the step before runs"});
}

void SamplingConfig::describe(Fields& f) {
  f.choice("mode", mode, {"parallel", "beam"}, {.doc = "several answers to a prompt: samples or beams"});
  f.field("n", n, {.doc = "sequences that answer every request", .min = 1, .max = 64});
  f.field("survival", survival,
          {.doc = "chance that a step keeps a beam; else it becomes a branch of another. 0.94 fits published "
                  "savings",
           .min = 0,
           .max = 1});
}

void CostConfig::describe(Fields& f) {
  f.choice("source", source, {"auto", "roofline", "table", "tile"},
           {.doc = "where operator times come from"});
  f.list("tables", tables, {.doc = "measurement files for `table`"});
  f.check(source != "table" || !tables.empty(), "source", "'table' needs files, expected cost.tables: [..]");
}

void TraceConfig::describe(Fields& f) {
  f.field("file", file, {.doc = "the trace; or given as --trace"});
  f.choice("format", format, trace_format_names(), {.doc = "auto: found by content"});
  f.field("limit", limit, {.doc = "only the first so many requests", .min = 1});
  f.field("rate_scale", rate_scale, {.doc = "2: arrivals twice as dense", .min = 1e-6, .max = 1e6});
  f.optional_group("closed_loop", closed_loop,
                   {.doc = "clients that wait for their answers instead of arrival times"});
  f.field(
      "shared_prefix_tokens", shared_prefix_tokens,
      {.doc = "so much of every prompt is the system prompt of its prompt_class, where the trace names no "
              "shared blocks itself",
       .unit = "tokens",
       .min = 0,
       .max = 1e8});
}

void SloConfig::describe(Fields& f) {
  f.field("ttft_ms", ttft_ms, {.doc = "most time to the first token", .unit = "ms", .min = 0});
  f.field("tpot_ms", tpot_ms, {.doc = "most mean time per further token", .unit = "ms", .min = 0});
}

void RunConfig::describe(Fields& f) {
  f.field("name", name, {.doc = "a name for the run"});
  f.reference("gpu", gpu, "gpus", {.doc = "the GPU", .required = true});
  f.reference("model", model, "models", {.doc = "the model", .required = true});
  f.reference("fabric", fabric, "fabrics", {.doc = "the node; auto: the GPU's usual one"});
  f.group("parallel", parallel, {.doc = "how one engine is spread over GPUs"});
  f.field("replicas", replicas, {.doc = "independent engines, fed in turn", .min = 1, .max = 65536});
  f.group("engine", engine, {.doc = "the serving engine"});
  f.group("memory", memory, {.doc = "the KV cache"});
  f.group("cost", cost, {.doc = "operator times"});
  f.group("sampling", sampling, {.doc = "several answers to each prompt"});
  f.group("trace", trace, {.doc = "the requests"});
  f.group("slo", slo, {.doc = "latency limits a request must meet"});
  f.field("seed", seed, {.doc = "seed of everything random", .min = 0});
}

const std::string& scheduler_of(const RunConfig& config) {
  return config.engine.scheduler == "auto" ? config.engine.profile->scheduler : config.engine.scheduler;
}

RunConfig load_run_config(const std::string& path, const std::vector<std::string>& overrides,
                          const std::string& trace_file) {
  Yaml tree = load_yaml(path);
  if (tree.kind == Yaml::Kind::map)
    for (const std::string& text : overrides) apply(tree, text);
  RunConfig config;
  config.engine.profile.name = kDefaultEngineProfile;
  read_spec(tree, config);
  if (config.engine.profile.value.name.empty())
    config.engine.profile.value = read_config<EngineProfile>("engines", config.engine.profile.name);
  config.trace.file = trace_file.empty() ? beside(path, config.trace.file) : trace_file;
  if (config.trace.closed_loop) config.trace.closed_loop->check_lengths(!config.trace.file.empty());
  if (config.trace.file.empty() && !config.trace.closed_loop)
    throw InputError({path, 0, 0},
                     "trace.file: missing, expected a trace in the config or as --trace FILE, or "
                     "trace.closed_loop");
  config.engine.scheduler = scheduler_of(config);
  for (std::string& table : config.cost.tables) table = beside(path, table);
  return config;
}

}  // namespace tessera
