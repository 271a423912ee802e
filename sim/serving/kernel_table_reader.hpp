// Reads measured kernel tables for the `table` cost source: CSV, plain or compressed, with the columns of
// the public AIConfigurator tables. Which kernel a file holds is told by its columns:
//   GEMM        gemm_dtype,m,n,k,latency_ms
//   attention   batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,kv_cache_dtype,past_kv_tokens,
//               latency_ms[,window_size_tokens]; rows with tokens in the cache are decodes, those without are
//               prefills
//   experts     moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,
//               distribution,latency_ms[,kernel_source]
//   NCCL        op_name,nccl_dtype,num_gpus,message_elements,latency_ms
//   all-reduce  allreduce_dtype,num_gpus,message_elements,latency_ms,backend,kernel_source; of vLLM
// and in all an optional `flag`: a row with a non-empty one is passed over. So are rows in formats the
// simulator has no operator for: block-scaled or weight-only GEMMs, heads of more than 256 elements, experts
// in other formats than bf16 and MXFP4, all-reduces of other engines.
#pragma once

#include <string>
#include <vector>

#include "kernels/cost/kernel_table.hpp"

namespace tessera {

// Whether the file's header is one of the above.
bool is_kernel_table(const std::string& file);

// The rows of all files, as measured on `gpu`. Throws InputError naming file, line and column.
KernelTable read_kernel_tables(const std::vector<std::string>& files, const Gpu& gpu);

}  // namespace tessera
