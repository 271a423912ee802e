#include "sim/serving/metrics.hpp"

#include <algorithm>
#include <limits>

namespace tessera {

const char* name_of(StepPart part) {
  switch (part) {
    case StepPart::gemm:
      return "gemm";
    case StepPart::attention:
      return "attention";
    case StepPart::moe:
      return "moe";
    case StepPart::elementwise:
      return "elementwise";
    case StepPart::collective:
      return "collective";
    case StepPart::head:
      return "lm_head";
    case StepPart::sampler:
      return "sampler";
    case StepPart::host:
      return "host";
    case StepPart::count:
      break;
  }
  return "?";
}

void StepTerms::charge(StepPart to, const OpTime& time) {
  part[static_cast<std::size_t>(to)] += time.total;
  compute += time.compute;
  hbm += time.hbm;
  l2 += time.l2;
  link += time.link;
  launch += time.launch;
  host += time.host;
  in_range = in_range && time.in_range;
}

void StepTerms::add(const StepTerms& other, double times) {
  for (std::size_t i = 0; i < kStepParts; ++i) part[i] += other.part[i] * times;
  compute += other.compute * times;
  hbm += other.hbm * times;
  l2 += other.l2 * times;
  link += other.link * times;
  launch += other.launch * times;
  host += other.host * times;
  hbm_bytes += other.hbm_bytes * times;
  link_bytes += other.link_bytes * times;
  cascade_steps += other.cascade_steps * times;
  cascade_saved_bytes += other.cascade_saved_bytes * times;
  in_range = in_range && other.in_range;
}

void Metrics::finish(const RequestRecord& record) {
  constexpr double kPsPerMilli = 1e9;  // a quotient of whole milliseconds is exact, a product by 1e-9 is not
  const double ttft = static_cast<double>(record.first_token_ps - record.arrival_ps) / kPsPerMilli;
  const double e2el = static_cast<double>(record.finish_ps - record.arrival_ps) / kPsPerMilli;
  const double tpot = record.output_tokens > 1
                          ? static_cast<double>(record.finish_ps - record.first_token_ps) / kPsPerMilli /
                                static_cast<double>(record.output_tokens - 1)
                          : std::numeric_limits<double>::quiet_NaN();
  samples.push_back({ttft, tpot, e2el});
  ++completed;
  // A request of one token has no TPOT to miss.
  if (ttft <= slo_ttft_ms && !(tpot > slo_tpot_ms)) ++good;
  input_tokens += record.input_tokens;
  output_tokens += sequences * record.output_tokens;
  last_finish_ps = std::max(last_finish_ps, record.finish_ps);
  if (on_finish) on_finish(record);
}

void Metrics::kv_use(const KvUse& use, std::int64_t duration_ps) {
  const auto time = static_cast<double>(duration_ps);
  block_time += static_cast<double>(use.used_blocks) * time;
  slot_time += static_cast<double>(use.held_slots) * time;
  resident_time += static_cast<double>(use.resident) * time;
  reserved_time += static_cast<double>(use.reserved) * time;
  external_time += static_cast<double>(use.external) * time;
  padding_time += static_cast<double>(use.padding) * time;
  duplicate_time += static_cast<double>(use.duplicate) * time;
  running_time += static_cast<double>(use.running) * time;
  step_time += time;
  peak_blocks = std::max(peak_blocks, use.used_blocks);
  peak_running = std::max(peak_running, use.running);
}

}  // namespace tessera
