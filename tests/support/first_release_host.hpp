// Host times assumed of the engine in the PagedAttention paper (vLLM's first release, 2023), as overrides of
// the profile vllm-0.6: nobody published them; these leave the paper's request rates near saturation, as they
// were in its figures.
#pragma once

#include <string>
#include <vector>

namespace tessera::test {

inline const std::vector<std::string> kFirstReleaseHost{
    "engine.profile.host_base_us=2600",  "engine.profile.host_per_sequence_us=350",
    "engine.profile.host_per_tp_us=200", "engine.profile.eager_prefill_floor_ms=25",
    "engine.profile.frontend_ttft_ms=8",
};

}  // namespace tessera::test
