#include "sim/memory/hbm/run.hpp"

namespace tessera {

HbmFigures figures_of(const HbmSpec& spec, const HbmRun& run) {
  const double tick_ns = static_cast<double>(spec.ck_ps) * 0.5e-3;
  const std::int64_t bytes = run.requests() * spec.organisation.burst_bytes;
  HbmFigures f;
  if (run.elapsed > 0) f.gb_s = static_cast<double>(bytes) / (static_cast<double>(run.elapsed) * tick_ns);
  f.percent_of_peak = 100 * f.gb_s / spec.peak_gb_s();
  if (run.reads() > 0)
    f.mean_latency_ns = static_cast<double>(run.read_latency()) / static_cast<double>(run.reads()) * tick_ns;
  return f;
}

}  // namespace tessera
