// `explain kv-claims`: published factors of cache shapes beside ours, with the baseline each assumes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sim/cli/commands.hpp"
#include "sim/serving/kv_claims.hpp"

namespace tessera {

int explain_kv_claims(const ExplainOptions& options) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const KvClaim& claim : load_kv_claims("kv_claims").claims) {
    const ClaimResult r = check_claim(claim);
    if (options.json) {
      rows.push_back({{"id", claim.id},
                      {"claim", claim.claim},
                      {"published", claim.published},
                      {"factor", r.factor},
                      {"within", r.within},
                      {"ours", r.ours},
                      {"baseline", r.baseline},
                      {"unit", r.unit},
                      {"gpu", claim.gpu},
                      {"assumes", claim.assumes},
                      {"verdict", claim.verdict},
                      {"refusal", r.refusal}});
      continue;
    }
    fmt::print("{}  {}\n", claim.id, claim.claim);
    if (!r.refusal.empty())
      fmt::print("    cannot run: {}\n", r.refusal);
    else
      fmt::print("    published {:.4g}x, ours {:.4g}x ({} {:.4g} {} against {} {:.4g} {}){}\n",
                 claim.published, r.factor, claim.ours.shape, r.ours, r.unit, claim.baseline.shape,
                 r.baseline, r.unit,
                 r.within ? "" : fmt::format(": outside {:g} %", claim.tolerance_percent));
    if (!claim.assumes.empty()) fmt::print("    baseline: {}\n", claim.assumes);
    if (!claim.verdict.empty()) fmt::print("    {}\n", claim.verdict);
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  return kOk;
}

}  // namespace tessera
