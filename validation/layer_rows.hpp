// Layer profiles of the public simulators as measurement tables: cards that have no kernel tables of their
// own.
//
// Read are LLMServingSim's profiles of Llama-3.1-8B: dense (layer,tokens,time_us), attention
// (prefill_chunk,kv_prefill,n_decode,kv_decode,time_us) and the older layers (layer_name,input_tokens,..,
// latency_ns). Matrix products become rows of their own kind, attention rows one batch each; other operators
// are left out.
#pragma once

#include <string>

#include "validation/kernels.hpp"
#include "validation/measurement.hpp"

namespace tessera {

// A measurement table of any kind known here: as it is when it has latency_ms, else a layer profile turned
// into one (columns kernel_source, layer, m, n, k or prefill_chunk, kv_prefill, n_decode, kv_decode, q_heads,
// kv_heads, head_dim). Throws InputError for anything else.
MeasurementTable load_measurements(const std::string& path);

// Matrix products and attention of a layer as serving runs them: weights and KV from HBM, 16-token pages.
KernelValidator layer_gemm_validator();
KernelValidator layer_attention_validator();

}  // namespace tessera
