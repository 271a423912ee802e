#include "sim/serving/kv_claims.hpp"

#include <fmt/format.h>

#include <cmath>

#include "models/base/error.hpp"
#include "sim/serving/run_config.hpp"

namespace tessera {
namespace {

struct Metric {
  const char* name;
  const char* unit;
  bool less_is_better;
  double (*value)(const ShapeReport& report, const KvClaim& claim, bool baseline);
};

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

double generated_per_s(const ShapeReport& r, const KvClaim& claim, bool) {
  const double prompts = static_cast<double>(r.batch) * r.prefill_ms;
  const double steps = static_cast<double>(claim.output) * r.step_ms;
  return static_cast<double>(r.batch * claim.output) / (prompts + steps) * 1e3;
}

const Metric kMetrics[] = {
    {"kv", "GiB", true,
     [](const ShapeReport& r, const KvClaim&, bool) {
       return static_cast<double>(r.bytes_at_context) / kGiB;
     }},
    {"memory", "GiB", true,
     [](const ShapeReport& r, const KvClaim&, bool) {
       return static_cast<double>(r.bytes_at_context + r.weight_bytes) / kGiB;
     }},
    {"prefill", "s", true, [](const ShapeReport& r, const KvClaim&, bool) { return r.prefill_ms * 1e-3; }},
    {"decode", "tok/s", false, [](const ShapeReport& r, const KvClaim&, bool) { return r.decode_tokens_s; }},
    {"generate", "tok/s", false, generated_per_s},
    {"recompute", "ms", true,
     [](const ShapeReport& r, const KvClaim&, bool baseline) { return baseline ? r.prefill_ms : r.step_ms; }},
};

const Metric& metric_of(const KvClaim& claim) {
  for (const Metric& metric : kMetrics)
    if (claim.metric == metric.name) return metric;
  throw InputError("claims.metric: " + claim.metric + " is not known");
}

ShapeReport report_side(const KvClaim& claim, const ClaimSide& side, bool bytes_only) {
  CompareSetup setup;
  setup.gpu = load_gpu(claim.gpu);
  setup.engine = read_config<EngineProfile>("engines", kDefaultEngineProfile);
  setup.tp = claim.tp;
  setup.context = claim.context;
  setup.batch = claim.batch;
  setup.seats = std::max(claim.seats, claim.batch);
  setup.block_tokens = setup.engine.block_tokens;
  ShapeReport report = report_shape(setup, apply_shape(load_model(side.model), side.shape));
  // A cache that does not fit still has a size.
  if (bytes_only && report.bytes_at_context > 0) report.refusal.clear();
  return report;
}

}  // namespace

void ClaimSide::describe(Fields& f) {
  f.field("model", model, {.doc = "model name or file", .required = true});
  f.field("shape", shape, {.doc = "cache shape, see list shapes"});
}

void KvClaim::describe(Fields& f) {
  std::vector<std::string> metrics;
  for (const Metric& one : kMetrics) metrics.emplace_back(one.name);
  f.field("id", id, {.doc = "a short name", .required = true});
  f.field("claim", claim, {.doc = "what was published, and where", .required = true});
  f.field("published", published, {.doc = "the factor", .min = 0, .required = true});
  f.field("tolerance_percent", tolerance_percent,
          {.doc = "how near is near", .unit = "%", .min = 0, .max = 1000});
  f.choice("metric", metric, metrics, {.doc = "what is compared"});
  f.field("gpu", gpu, {.doc = "GPU name or file"});
  f.field("tp", tp, {.doc = "tensor-parallel ranks", .min = 1, .max = 1024});
  f.field("context", context, {.doc = "tokens of every sequence", .unit = "tokens", .min = 1, .max = 1e9});
  f.field("output", output, {.doc = "generated tokens (generate)", .unit = "tokens", .min = 1, .max = 1e9});
  f.field("batch", batch, {.doc = "sequences; 0: as many as fit each side", .min = 0, .max = 65536});
  f.field("seats", seats, {.doc = "most sequences at once", .min = 1, .max = 65536});
  f.group("ours", ours, {.doc = "the shape claimed for", .required = true});
  f.group("baseline", baseline, {.doc = "what it was compared with", .required = true});
  f.field("assumes", assumes, {.doc = "what the baseline assumes"});
  f.field("verdict", verdict, {.doc = "why ours differs"});
}

void KvClaims::describe(Fields& f) {
  f.list("claims", claims, {.doc = "published factors", .required = true});
}

KvClaims load_kv_claims(const std::string& name_or_path) {
  return read_config<KvClaims>("studies", name_or_path);
}

ClaimResult check_claim(const KvClaim& claim) {
  const Metric& metric = metric_of(claim);
  const bool bytes_only = claim.metric == "kv" || claim.metric == "memory";
  const ShapeReport ours = report_side(claim, claim.ours, bytes_only);
  const ShapeReport base = report_side(claim, claim.baseline, bytes_only);
  ClaimResult result;
  result.claim = claim;
  result.unit = metric.unit;
  result.refusal = !base.refusal.empty()   ? claim.baseline.model + ": " + base.refusal
                   : !ours.refusal.empty() ? claim.ours.model + ": " + ours.refusal
                                           : "";
  if (!result.refusal.empty()) return result;
  result.ours = metric.value(ours, claim, false);
  result.baseline = metric.value(base, claim, true);
  result.factor = metric.less_is_better ? result.baseline / result.ours : result.ours / result.baseline;
  result.within = std::abs(result.factor / claim.published - 1) * 100 <= claim.tolerance_percent;
  return result;
}

}  // namespace tessera
