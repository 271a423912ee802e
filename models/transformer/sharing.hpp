// Which layer's keys and values each layer reads.
//
//   adjacent   CLA-k (arXiv 2405.12981): layers k i .. k i + k - 1 read layer k i
//   last       Gemma-3n: the final `layers` read the last layer of their kind before them
//   first      YOCO (arXiv 2405.05254): every layer of kind `of` reads the first of them, whose K and V are
//              projected before its queries, so a prompt may stop there
//   condensed  LCKV (arXiv 2405.10637): `warmup` layers keep their own, half of them (rounded up) at the
//   bottom;
//              all between read the topmost of them. A layer then needs what lies above it, so a prompt runs
//              through them `prefill_passes` times
//   merged     MiniCache (arXiv 2405.14366): from layer `from` on, `factor` neighbours are one tensor; every
//              layer keeps a magnitude per head for K and V, and one token in `kept_every` whole
//   map        KVSharer (arXiv 2410.18517): any earlier layer of the same kind, as "reader=source"
//
// Sharing lowers what is held. Every layer still reads its source at every step, so decode traffic stays.
// Left out: hits in L2 when neighbours read the same entries (a layer's weights flush it between two uses).
#pragma once

#include <string>
#include <vector>

#include "models/transformer/layers.hpp"

namespace tessera {

// Sets kv_source, merged, late and passes of `layers`. Returns what is wrong, as one sentence; empty if
// nothing is.
std::string share_layers(const Model& model, std::vector<Layer>& layers);

}  // namespace tessera
