// A parameter is seen where its term carries the time; the conditions below are those regimes, from the
// equations in kernels/cost. They explain a refusal, they do not decide it: the Jacobian does
// (uncertainty.cpp), which also sees regimes that overlap.
#include "validation/coverage.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace tessera {
namespace {

struct Need {
  const char* section;
  const char* parameter;  // ends with: "rates." and "fp8." of attention share an entry
  const char* rows;
  bool (*holds)(const Row&);
};

constexpr double kMega = 1 << 20;
constexpr std::ptrdiff_t kEnough = 4;  // rows of a regime; what they leave open, more would too

double number(const Row& row, const char* column) { return row.has(column) ? row.number(column) : 0; }
double m(const Row& r) { return number(r, "m"); }
double n(const Row& r) { return number(r, "n"); }
double k(const Row& r) { return number(r, "k"); }
bool fp8_gemm(const Row& r) { return r.text("gemm_dtype") == "fp8"; }
bool decode(const Row& r) { return number(r, "isl_tokens") == 1; }
bool prefill(const Row& r) { return number(r, "isl_tokens") > 1; }
double batch(const Row& r) { return number(r, "batch_size"); }
double past(const Row& r) { return number(r, "past_kv_tokens"); }
double prompt(const Row& r) { return number(r, "isl_tokens"); }
double kv_bytes(const Row& r) {
  return batch(r) * past(r) * 2 * number(r, "num_key_value_heads") * number(r, "head_dim") * 2;
}
double elements(const Row& r) { return number(r, "message_elements"); }
bool all_to_all(const Row& r) { return r.text("op_name") == "alltoall"; }
bool ring(const Row& r) { return !all_to_all(r); }
double ranks(const Row& r) { return number(r, "num_gpus"); }
double tokens(const Row& r) { return number(r, "num_tokens"); }

// clang-format off
const Need kNeeds[] = {
    {"gemm", "floor_us", "k <= 64 (launch and drain alone)", [](const Row& r) { return k(r) <= 64; }},
    {"gemm", "gemv_serial_ns_per_k", "m = 1 and k >= 2048", [](const Row& r) { return m(r) == 1 && k(r) >= 2048; }},
    {"gemm", "serial_ns_per_k", "2 <= m <= 64, n <= 1024 and k >= 2048 (one wave, a long k loop)",
     [](const Row& r) { return m(r) >= 2 && m(r) <= 64 && n(r) <= 1024 && k(r) >= 2048; }},
    {"gemm", "compute_fraction", "m, n and k >= 2048 (compute-bound)",
     [](const Row& r) { return std::min({m(r), n(r), k(r)}) >= 2048; }},
    {"gemm", "hbm_fraction", "m <= 32 and n k >= 64 Mi (weights far larger than L2)",
     [](const Row& r) { return m(r) <= 32 && n(r) * k(r) >= 64 * kMega; }},
    {"gemm", "l2_feed_gb_s", "m from 64 to 1024, n and k >= 1024 (many small tiles)",
     [](const Row& r) { return m(r) >= 64 && m(r) <= 1024 && n(r) >= 1024 && k(r) >= 1024; }},
    {"gemm", "split_us", "m <= 128, n <= 1024 and k >= 4096 (k split over CTAs)",
     [](const Row& r) { return m(r) <= 128 && n(r) <= 1024 && k(r) >= 4096; }},
    {"gemm", "epilogue_us", "m and n >= 1024, k <= 256 (large tiles, a short k loop)",
     [](const Row& r) { return m(r) >= 1024 && n(r) >= 1024 && k(r) <= 256; }},
    {"gemm", "l2_share", "m <= 64 and n k from 1 to 32 Mi (weights about as large as L2)",
     [](const Row& r) { return m(r) <= 64 && n(r) * k(r) >= kMega && n(r) * k(r) <= 32 * kMega; }},
    {"gemm", "l2_retained", "m <= 64 and n k from 8 to 128 Mi (weights a little larger than L2)",
     [](const Row& r) { return m(r) <= 64 && n(r) * k(r) >= 8 * kMega && n(r) * k(r) <= 128 * kMega; }},
    {"gemm", "wave_quantisation", "m and n from 512 to 8192 at several sizes (1 to 8 waves of tiles)",
     [](const Row& r) { return std::min(m(r), n(r)) >= 512 && std::max(m(r), n(r)) <= 8192; }},
    {"gemm", "fp8.quantise_us", "gemm_dtype fp8 and m <= 16", [](const Row& r) { return fp8_gemm(r) && m(r) <= 16; }},
    {"gemm", "fp8.quantise_row_ns", "gemm_dtype fp8, m >= 1024 and k <= 1024",
     [](const Row& r) { return fp8_gemm(r) && m(r) >= 1024 && k(r) <= 1024; }},
    {"gemm", "fp8.quantise_gb_s", "gemm_dtype fp8, m and k >= 4096",
     [](const Row& r) { return fp8_gemm(r) && std::min(m(r), k(r)) >= 4096; }},
    {"gemm", "fp8.compute_fraction", "gemm_dtype fp8, m, n and k >= 2048",
     [](const Row& r) { return fp8_gemm(r) && std::min({m(r), n(r), k(r)}) >= 2048; }},
    {"gemm", "fp8.serial_ns_per_k", "gemm_dtype fp8, m <= 64 and k >= 4096",
     [](const Row& r) { return fp8_gemm(r) && m(r) <= 64 && k(r) >= 4096; }},

    {"attention", "prefill_launch_us", "prefill of at most 256 tokens",
     [](const Row& r) { return prefill(r) && batch(r) * prompt(r) <= 256; }},
    {"attention", "launch_us", "decode with batch_size <= 4 and past_kv_tokens <= 256",
     [](const Row& r) { return decode(r) && batch(r) <= 4 && past(r) <= 256; }},
    {"attention", "combine_per_split_us", "decode with batch_size = 1 and past_kv_tokens >= 16384",
     [](const Row& r) { return decode(r) && batch(r) == 1 && past(r) >= 16384; }},
    {"attention", "combine_us", "decode with batch_size <= 4, past_kv_tokens from 1024 (split KV) and below",
     [](const Row& r) { return decode(r) && batch(r) <= 4 && past(r) >= 1024; }},
    {"attention", "cta_us", "decode with batch_size >= 64 and past_kv_tokens <= 256",
     [](const Row& r) { return decode(r) && batch(r) >= 64 && past(r) <= 256; }},
    {"attention", "cta_gb_s", "decode of few sequences with past_kv_tokens from 512 to 4096",
     [](const Row& r) { return decode(r) && batch(r) <= 8 && past(r) >= 512 && past(r) <= 4096; }},
    {"attention", "hbm_fraction", "decode that reads 512 MiB of KV and more",
     [](const Row& r) { return decode(r) && kv_bytes(r) >= 512 * kMega; }},
    {"attention", "l2_gb_s", "decode that reads 4 to 32 MiB of KV",
     [](const Row& r) { return decode(r) && kv_bytes(r) >= 4 * kMega && kv_bytes(r) <= 32 * kMega; }},
    {"attention", "l2_share", "decode that reads 16 to 256 MiB of KV",
     [](const Row& r) { return decode(r) && kv_bytes(r) >= 16 * kMega && kv_bytes(r) <= 256 * kMega; }},
    {"attention", "mma_factor", "prefill of 4096 tokens and more, with several values of head_dim",
     [](const Row& r) { return prefill(r) && prompt(r) >= 4096; }},
    {"attention", "exp_factor", "prefill of 4096 tokens and more, with head_dim 64 and larger ones",
     [](const Row& r) { return prefill(r) && prompt(r) >= 4096; }},
    {"attention", "kv_write_us", "prefill of 16384 tokens and more in all, in short prompts",
     [](const Row& r) { return prefill(r) && batch(r) * prompt(r) >= 16384 && prompt(r) <= 2048; }},
    {"attention", "mask_us", "prefill of many prompts of 64 to 512 tokens",
     [](const Row& r) { return prefill(r) && batch(r) >= 16 && prompt(r) >= 64 && prompt(r) <= 512; }},
    {"attention", "heat", "prefill of 10 ms and more", [](const Row& r) { return prefill(r) && r.latency_us() > 1e4; }},
    {"attention", "transpose_d192_us", "kv_cache_dtype fp8 and head_dim 192",
     [](const Row& r) { return r.text("kv_cache_dtype") == "fp8" && number(r, "head_dim") == 192; }},
    {"attention", "transpose_d256_us", "kv_cache_dtype fp8 and head_dim 256",
     [](const Row& r) { return r.text("kv_cache_dtype") == "fp8" && number(r, "head_dim") == 256; }},
    {"attention", "transpose_us", "kv_cache_dtype fp8, prefill of 4096 tokens and more, head_dim <= 128",
     [](const Row& r) { return r.text("kv_cache_dtype") == "fp8" && prompt(r) >= 4096 && number(r, "head_dim") <= 128; }},

    {"moe", "floor_us", "num_tokens <= 4", [](const Row& r) { return tokens(r) <= 4; }},
    {"moe", "permute_us", "num_tokens from 256 to 4096", [](const Row& r) { return tokens(r) >= 256 && tokens(r) <= 4096; }},
    {"moe", "per_100_experts_us", "num_experts >= 128, and layers with fewer",
     [](const Row& r) { return number(r, "num_experts") >= 128; }},
    {"moe", "compute_fraction", "num_tokens >= 8192", [](const Row& r) { return tokens(r) >= 8192; }},
    {"moe", "hbm_fraction", "num_tokens from 16 to 256", [](const Row& r) { return tokens(r) >= 16 && tokens(r) <= 256; }},
    {"moe", "l2_feed_gb_s", "num_tokens from 512 to 8192", [](const Row& r) { return tokens(r) >= 512 && tokens(r) <= 8192; }},
    {"moe", "serial_ns_per_k", "num_tokens <= 16 and hidden_size >= 4096",
     [](const Row& r) { return tokens(r) <= 16 && number(r, "hidden_size") >= 4096; }},
    {"moe", "wave_quantisation", "num_tokens from 64 to 2048", [](const Row& r) { return tokens(r) >= 64 && tokens(r) <= 2048; }},
    {"moe", "elementwise_fraction", "num_tokens >= 16384", [](const Row& r) { return tokens(r) >= 16384; }},

    {"collectives", "nccl.base_us", "op_name other than alltoall and message_elements <= 4096",
     [](const Row& r) { return ring(r) && elements(r) <= 4096; }},
    {"collectives", "nccl.step_us", "op_name other than alltoall, 2 and 8 GPUs, message_elements <= 4096",
     [](const Row& r) { return ring(r) && ranks(r) > 2 && elements(r) <= 4096; }},
    {"collectives", "nccl.all_to_all_us", "op_name alltoall and message_elements <= 4096",
     [](const Row& r) { return all_to_all(r) && elements(r) <= 4096; }},
    {"collectives", "nccl.ll_gb_s", "op_name other than alltoall, message_elements from 8192 to 65536",
     [](const Row& r) { return ring(r) && elements(r) >= 8192 && elements(r) <= 65536; }},
    {"collectives", "nccl.all_to_all_ll128_us", "op_name alltoall, message_elements from 65536 to 4194304",
     [](const Row& r) { return all_to_all(r) && elements(r) >= 65536 && elements(r) <= 4194304; }},
    {"collectives", "nccl.all_to_all_ll128_gb_s", "op_name alltoall, message_elements from 65536 to 4194304",
     [](const Row& r) { return all_to_all(r) && elements(r) >= 65536 && elements(r) <= 4194304; }},
    {"collectives", "nccl.ll128_us", "op_name other than alltoall, message_elements from 65536 to 2097152",
     [](const Row& r) { return ring(r) && elements(r) >= 65536 && elements(r) <= 2097152; }},
    {"collectives", "nccl.ll128_gb_s", "op_name other than alltoall, message_elements from 65536 to 2097152",
     [](const Row& r) { return ring(r) && elements(r) >= 65536 && elements(r) <= 2097152; }},
    {"collectives", "nccl.simple_us", "message_elements from 2097152 to 33554432",
     [](const Row& r) { return elements(r) >= 2097152 && elements(r) <= 33554432; }},
    {"collectives", "nccl.simple_gb_s", "message_elements >= 67108864", [](const Row& r) { return elements(r) >= 67108864; }},
    {"collectives", "nccl.copy_share", "op_name all_gather or reduce_scatter and message_elements >= 16777216",
     [](const Row& r) { return ring(r) && r.text("op_name") != "all_reduce" && elements(r) >= 16777216; }},
    {"collectives", "nccl.switch_us", "op_name all_reduce, 8 GPUs, message_elements from 4194304 to 33554432",
     [](const Row& r) { return r.text("op_name") == "all_reduce" && ranks(r) > 4 && elements(r) >= 4194304; }},
    {"collectives", "nccl.switch_gb_s", "op_name all_reduce, 8 GPUs, message_elements >= 67108864",
     [](const Row& r) { return r.text("op_name") == "all_reduce" && ranks(r) > 4 && elements(r) >= 67108864; }},
    {"collectives", "custom.base_us", "backend vllm_graph and message_elements <= 4096",
     [](const Row& r) { return elements(r) <= 4096; }},
    {"collectives", "custom.rank_us", "backend vllm_graph, 2 and 8 GPUs, message_elements <= 4096",
     [](const Row& r) { return ranks(r) > 2 && elements(r) <= 4096; }},
    {"collectives", "custom.one_shot_gb_s", "backend vllm_graph, 2 GPUs, message_elements >= 524288",
     [](const Row& r) { return ranks(r) == 2 && elements(r) >= 524288; }},
    {"collectives", "custom.two_shot_us", "backend vllm_graph, more than 2 GPUs, message_elements from 262144",
     [](const Row& r) { return ranks(r) > 2 && elements(r) >= 262144; }},
    {"collectives", "custom.two_shot_gb_s", "backend vllm_graph, more than 2 GPUs, message_elements >= 2097152",
     [](const Row& r) { return ranks(r) > 2 && elements(r) >= 2097152; }},
};
// clang-format on

bool belongs(const Need& need, const std::string& section) {
  return section == need.section || section == std::string("tile.") + need.section;
}

const Need* need_of(const std::string& section, const std::string& parameter) {
  const auto dot = parameter.find('.');
  const std::string last = dot == std::string::npos ? parameter : parameter.substr(dot + 1);
  for (const std::string& name : {parameter, last})
    for (const Need& need : kNeeds)
      if (belongs(need, section) && name == need.parameter) return &need;
  return nullptr;
}

}  // namespace

std::string missing_rows(const std::string& section, const std::string& parameter,
                         std::span<const Row> rows) {
  const Need* need = need_of(section, parameter);
  if (need == nullptr) return "";
  const auto count = std::count_if(rows.begin(), rows.end(), need->holds);
  if (count >= kEnough) return "";
  return fmt::format("{} row{} with {}: {} not determined", count == 0 ? "no" : fmt::format("only {}", count),
                     count == 1 || count == 0 ? "" : "s", need->rows, parameter);
}

std::vector<std::string> covered_parameters(const std::string& section) {
  std::vector<std::string> names;
  for (const Need& need : kNeeds)
    if (belongs(need, section)) names.emplace_back(need.parameter);
  return names;
}

}  // namespace tessera
