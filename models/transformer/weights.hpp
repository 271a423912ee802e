// The weights of one rank, tensor by tensor, as parameter counts.
//
// Linear layers are split over tensor-parallel ranks as Megatron-LM does (arXiv 1909.08053): QKV, up and gate
// by columns, output and down by rows, embedding and LM head by vocabulary rows. Replicated on every rank:
// norms, routers, latent down-projections (MLA), indexers, key/value heads beyond their count. Routed experts
// are spread over ep ranks and each is split over tp / ep. Left out: rows that engines pad the vocabulary
// with, quantisation scales of fp8, per-block extras that a model describes only through `other_parameters`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/layers.hpp"

namespace tessera {

struct WeightTensor {
  std::string name;
  std::int64_t parameters = 0;  // of one copy, on one rank
  std::int64_t copies = 0;      // layers that have it
  DType dtype = DType::bf16;

  [[nodiscard]] std::int64_t total_parameters() const { return parameters * copies; }
  [[nodiscard]] std::int64_t bytes() const;
};

std::vector<WeightTensor> weight_tensors(const Model& model, std::int64_t tp = 1, std::int64_t ep = 1);
std::int64_t parameter_count(const std::vector<WeightTensor>& tensors);
std::int64_t weight_bytes(const std::vector<WeightTensor>& tensors);

// Parameters a token is multiplied with: top_k of the routed experts, and the embedding only where it is the
// LM head too.
std::int64_t active_parameters(const Model& model);

}  // namespace tessera
