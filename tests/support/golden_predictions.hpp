// What every shipped card predicts over a fixed grid of kernels: the rows of tests/golden/predictions.csv.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/collective.hpp"
#include "kernels/cost/elementwise.hpp"
#include "kernels/cost/gemm.hpp"
#include "kernels/cost/mla.hpp"
#include "kernels/cost/moe.hpp"
#include "sim/gpu/attention_sim.hpp"

namespace tessera {

struct GoldenRow {
  std::string gpu, kernel, source, shape;
  double us = 0;
  [[nodiscard]] std::string key() const { return gpu + "," + kernel + "," + source + "," + shape; }
};

class GoldenGrid {
 public:
  explicit GoldenGrid(const std::string& gpu_name) : gpu_(load_gpu(gpu_name)), name_(gpu_name) {
    gemms();
    attention();
    others();
  }
  std::vector<GoldenRow> rows;

 private:
  void add(const char* kernel, const char* source, const std::string& shape, const OpTime& time) {
    rows.push_back({name_, kernel, source, shape, time.total});
  }
  static AttentionShape layer(int q, int kv, int dim, std::int64_t window = 0) {
    AttentionShape s;
    s.q_heads = q, s.kv_heads = kv, s.head_dim = s.v_head_dim = dim, s.window = window;
    return s;
  }

  void gemms() {
    const GemmShape shapes[] = {{1, 4096, 4096},     {16, 28672, 4096}, {256, 6144, 4096},
                                {2048, 4096, 14336}, {4096, 1024, 512}, {300, 5120, 640}};
    for (GemmShape s : shapes)
      for (const int copies : {0, 6}) {
        s.weight_copies = copies;
        const std::string shape = fmt::format("m={} n={} k={} copies={}", s.m, s.n, s.k, copies);
        add("gemm", "roofline", shape, gemm_time(gpu_, s));
        if (s.m <= 2048) add("gemm", "tile", shape, simulate_gemm(gpu_, s).time);
        s.dtype = DType::fp8;
        if (copies == 0) add("gemm", "roofline", shape + " fp8", gemm_time(gpu_, s));
        s.dtype = DType::bf16;
      }
  }

  void attention() {
    const AttentionShape layers[] = {layer(32, 8, 128), layer(32, 32, 64), layer(16, 4, 256),
                                     layer(24, 8, 128, 1024)};
    const std::pair<std::int64_t, std::int64_t> decodes[] = {{1, 8192}, {8, 500}, {32, 2048}, {200, 700}};
    const std::pair<std::int64_t, std::int64_t> prompts[] = {{1, 512}, {4, 1500}};
    for (const AttentionShape& base : layers)
      for (const bool replayed : {false, true}) {
        AttentionShape s = base;
        s.replayed = replayed;
        s.block_tokens = replayed ? 64 : 16;
        const std::string head = fmt::format("q={} kv={} d={} window={} {}", s.q_heads, s.kv_heads,
                                             s.head_dim, s.window, replayed ? "replayed" : "serving");
        for (const auto& [n, context] : decodes) {
          const std::string shape = fmt::format("{} {} x {}", head, n, context);
          add("decode", "roofline", shape, decode_attention_time(gpu_, s, {n, n * context, {}, 0}));
          if (replayed && n <= 32) add("decode", "tile", shape, simulated(s, n, {1, context}));
        }
        for (const auto& [n, prompt] : prompts) {
          const std::string shape = fmt::format("{} {} x {}", head, n, prompt);
          const std::vector<PrefillChunk> chunks(static_cast<std::size_t>(n), {prompt, 0});
          add("prefill", "roofline", shape, prefill_attention_time(gpu_, s, chunks));
          if (replayed) add("prefill", "tile", shape, simulated(s, n, {prompt, prompt}));
        }
        const PrefillChunk chunk{512, 2048};
        add("mixed", "roofline", head + " 64 x 1000 + 512 on 2048",
            mixed_attention_time(gpu_, s, {64, 64000, {}, 0}, {&chunk, 1}));
      }
  }
  [[nodiscard]] OpTime simulated(const AttentionShape& s, std::int64_t n, AttentionSequence sequence) const {
    AttentionProblem p;
    p.q_heads = s.q_heads, p.kv_heads = s.kv_heads, p.head_dim = p.v_head_dim = s.head_dim,
    p.window = s.window;
    p.page_tokens = s.block_tokens;
    p.sequences.assign(static_cast<std::size_t>(n), sequence);
    return simulate_attention(gpu_, p).time;
  }

  void others() {
    const PrefillChunk chunk{1000, 0};
    add("mla", "roofline", "decode 32 x 2000", mla_decode_time(gpu_, {}, {32, 64000, {}, 0}));
    add("mla", "roofline", "prefill 1000", mla_prefill_time(gpu_, {}, {&chunk, 1}));
    MoeShape moe;
    moe.hidden = 2048, moe.expert_width = 768, moe.experts = 128, moe.top_k = 8;
    for (const std::int64_t tokens : {1, 128, 4096})
      for (const double alpha : {0.0, 1.2}) {
        moe.tokens = tokens, moe.power_law = alpha;
        add("moe", "roofline", fmt::format("128 x 768 top 8, {} tokens, alpha {}", tokens, alpha),
            moe_time(gpu_, moe));
      }
    for (const int gpus : {2, 8})
      for (const double bytes : {4096.0, 1048576.0, 134217728.0}) {
        const std::string shape = fmt::format("{} ranks {} B", gpus, bytes);
        add("all_reduce", "roofline", "nccl " + shape, nccl_time(gpu_, Collective::all_reduce, gpus, bytes));
        add("all_gather", "roofline", "nccl " + shape, nccl_time(gpu_, Collective::all_gather, gpus, bytes));
        add("all_to_all", "roofline", "nccl " + shape, nccl_time(gpu_, Collective::all_to_all, gpus, bytes));
        add("all_reduce", "roofline", "graph " + shape, all_reduce_time(gpu_, gpus, bytes, true));
      }
    add("elementwise", "roofline", "3 kernels 64 MiB", elementwise_time(gpu_, 3, 67108864));
    add("sampler", "roofline", "100 sequences", sampler_time(gpu_, 100));
  }

  Gpu gpu_;
  std::string name_;
};

}  // namespace tessera
