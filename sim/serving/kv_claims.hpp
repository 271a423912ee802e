// Published "up to" figures of cache shapes beside ours: each claim names the shape, the baseline it was
// measured against and the setting, because a factor means nothing without them.
//
// Metrics, as baseline / ours or ours / baseline, so that more is better:
//   kv         bytes of one sequence at the context       memory    the same with the weights
//   prefill    time of one prompt of the context          decode    tokens/s of the engine at the batch
//   generate   tokens/s with the prompt's time counted: batch x output / (batch x prefill + output x step)
//   recompute  a decode step against running the whole context as a prompt for every token
// Claims live in configs/studies/kv_claims.yaml; adding one is adding a row there.
#pragma once

#include <string>
#include <vector>

#include "sim/serving/compare_shapes.hpp"

namespace tessera {

struct ClaimSide {
  std::string model;
  std::string shape = "base";
  void describe(Fields& f);
};

struct KvClaim {
  std::string id;
  std::string claim;
  double published = 0;
  double tolerance_percent = 25;
  std::string metric = "kv";
  std::string gpu = "h100-sxm";
  std::int64_t tp = 1;
  std::int64_t context = 4096;
  std::int64_t output = 1024;
  std::int64_t batch = 0;  // 0: each side as many as fit, at most seats
  std::int64_t seats = 256;
  ClaimSide ours;
  ClaimSide baseline;
  std::string assumes;
  std::string verdict;  // why ours differs, where it does
  void describe(Fields& f);
};

struct KvClaims {
  std::vector<KvClaim> claims;
  void describe(Fields& f);
};

struct ClaimResult {
  KvClaim claim;
  double ours = 0, baseline = 0;  // in `unit`
  std::string unit;
  double factor = 0;
  bool within = false;  // of the tolerance around the published factor
  std::string refusal;  // a side that cannot run
};

KvClaims load_kv_claims(const std::string& name_or_path);
ClaimResult check_claim(const KvClaim& claim);

}  // namespace tessera
