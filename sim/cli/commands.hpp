// The subcommands as plain functions of plain options. main.cpp alone knows the command-line library.
// Each returns the exit code; bad input throws InputError (2), a failed run RunError (1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

inline constexpr int kOk = 0, kFailed = 1, kBadInput = 2, kInterrupted = 130;

struct RunOptions {
  std::string config;
  std::string trace;
  std::vector<std::string> overrides;
  std::string out;
  std::optional<std::int64_t> seed;
  bool memory_map = false;
  bool json = false;
  bool quiet = false;
};
int run_command(const RunOptions& options);

struct CacheOptions {
  std::string trace;
  std::string format = "auto";
  std::vector<std::string> policies{"lru"};
  std::vector<std::string> blocks{"unbounded"};
  std::vector<std::string> bytes;  // capacities in bytes, in place of blocks
  std::string cost = "uniform";    // uniform | size | depth
  double ttl_s = 300;
  std::uint64_t seed = 0;
  std::uint32_t replicas = 1;
  std::string routing = "round-robin";  // round-robin | session
  bool mrc = false;
  double shards = 0;  // a rate below 1, a number of keys above; 0: no sampled curve
  bool json = false;
};
int cache_command(const CacheOptions& options);

struct ExplainOptions {
  std::string what;
  std::string model;
  std::string gpu;
  std::string context = "4096";
  std::string kv_dtype = "auto";
  std::int64_t tp = 1;
  double utilization = 0.9;
  std::vector<std::string> overrides;
  std::vector<std::string> compare;      // shapes (kv)
  std::vector<std::int64_t> batches{0};  // 0: as many as fit
  std::int64_t seats = 256;
  std::string layers;              // "16-31": a pipeline stage (kv)
  std::vector<std::string> links;  // devices (tier)
  double tflops = 0;               // of one GPU (tier); 0: its datasheet's
  std::string engine = "vllm-0.19";
  std::string copy_unit = "layer";  // (swap)
  std::string prefix = "2048";      // tokens all sequences share (cascade)
  bool json = false;
};
int explain_command(const ExplainOptions& options);

struct Model;
int explain_kv_compare(const ExplainOptions& options, const Model& model);
int explain_kv_claims(const ExplainOptions& options);
int explain_tier(const ExplainOptions& options, const Model& model);
int explain_swap(const ExplainOptions& options, const Model& model);
int explain_cascade(const ExplainOptions& options, const Model& model);

int list_command(const std::string& what, bool json);
int config_schema_command(bool json);
int config_explain_command(const std::string& key);

// Runs the program tessera-NAME that stands beside this one, the way git finds git-foo. Does not return.
int run_sibling(const std::string& name, const std::vector<std::string>& arguments);

// "128k" -> 131072, "2M" -> 2097152; throws InputError.
std::int64_t parse_tokens(const std::string& text, const std::string& what);

}  // namespace tessera
