#include "sim/cli/kernel_report.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

struct Sums {
  std::int64_t loaded = 0, stored = 0, read = 0, written = 0, flops = 0;
};

Sums sums_of(const KernelReport& r) {
  Sums s;
  for (const KernelPart& p : r.parts) {
    s.loaded += p.launch.loaded_bytes, s.stored += p.launch.stored_bytes;
    s.read += p.launch.hbm_read_bytes, s.written += p.launch.hbm_write_bytes;
    s.flops += p.launch.executed_flops;
  }
  s.loaded += r.unsimulated_read, s.stored += r.unsimulated_write;
  s.read += r.unsimulated_read, s.written += r.unsimulated_write;
  return s;
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// CTAs resident on an SM, on average over the launch.
double occupancy_of(const KernelReport& r) {
  const LaunchResult& l = r.parts[r.main].launch;
  return share(l.sm_busy_ps, static_cast<double>(l.time_ps) * static_cast<double>(r.gpu->sms.value));
}

struct Roofline {
  double hbm = 0, tensor = 0;  // shares of peak over the whole call
  std::string line;
};

Roofline roofline_of(const KernelReport& r, const Sums& s) {
  Roofline f;
  const double us = r.time.total;
  f.hbm = share(
      static_cast<double>(s.read + s.written) - static_cast<double>(r.unsimulated_read + r.unsimulated_write),
      us * r.gpu->hbm_bytes_per_us());
  f.tensor = share(static_cast<double>(s.flops), us * r.gpu->peak_flops(r.dtype) * 1e-6);
  if (r.time.launch > 0.5 * us)
    f.line = fmt::format("launch-bound, {:.0f} % of the time is launches and small kernels",
                         100 * r.time.launch / us);
  else if (r.time.hbm >= r.time.compute)
    f.line = fmt::format("memory-bound, {:.0f} % of HBM peak", 100 * f.hbm);
  else
    f.line = fmt::format("compute-bound, {:.0f} % of the tensor peak", 100 * f.tensor);
  return f;
}

}  // namespace

std::string to_json(const KernelReport& r) {
  const Sums s = sums_of(r);
  const Roofline roof = roofline_of(r, s);
  const LaunchResult& main = r.parts[r.main].launch;
  Json j;
  j["kernel"] = r.title;
  j["gpu"] = r.gpu->name;
  j["time_us"] = r.time.total;
  j["useful_flops"] = r.useful_flops;
  j["executed_flops"] = s.flops;
  j["tflops"] = r.useful_flops / r.time.total * 1e-6;
  j["hbm_read_bytes"] = s.read;
  j["hbm_write_bytes"] = s.written;
  j["l2_read_bytes"] = s.loaded;
  j["l2_write_bytes"] = s.stored;
  j["l2_hit_ratio"] =
      s.loaded > 0 ? 1 - share(static_cast<double>(s.read), static_cast<double>(s.loaded)) : 0;
  j["peak_extra_bytes"] = r.extra_bytes;
  j["sram_bytes_per_cta"] = r.sram_bytes_per_cta;
  j["ctas"] = main.ctas;
  j["ctas_per_sm"] = main.ctas_per_sm;
  j["occupancy"] = occupancy_of(r);
  j["hbm_gb_s"] = static_cast<double>(s.read + s.written) / r.time.total * 1e-3;
  j["hbm_percent_of_peak"] = 100 * roof.hbm;
  j["roofline"] = roof.line;
  j["terms"] = {{"compute_us", r.time.compute},
                {"hbm_us", r.time.hbm},
                {"l2_us", r.time.l2},
                {"launch_us", r.time.launch}};
  j["kernels"] = Json::array();
  for (const KernelPart& p : r.parts)
    j["kernels"].push_back({{"kernel", p.kernel},
                            {"time_us", p.us},
                            {"ctas", p.launch.ctas},
                            {"steps", p.launch.steps},
                            {"events", p.launch.events}});
  j["in_range"] = r.time.in_range;
  return j.dump(2) + "\n";
}

std::string to_text(const KernelReport& r) {
  const Sums s = sums_of(r);
  const Roofline roof = roofline_of(r, s);
  const LaunchResult& main = r.parts[r.main].launch;
  std::string text = fmt::format("{} on {}\n  {:.2f} us   {:.1f} TFLOP/s useful   {}\n\n", r.title,
                                 r.gpu->title, r.time.total, r.useful_flops / r.time.total * 1e-6, roof.line);
  text += fmt::format("  {:<18}{:>14}{:>14}{:>12}{:>9}\n", "level", "read", "written", "GB/s", "of peak");
  const auto level = [&](const char* name, std::int64_t read, std::int64_t written, double peak_gb_s) {
    const double gb_s = static_cast<double>(read + written) / r.time.total * 1e-3;
    text +=
        fmt::format("  {:<18}{:>14}{:>14}{:>12.0f}{:>7.0f} %\n", name, human_bytes(static_cast<double>(read)),
                    human_bytes(static_cast<double>(written)), gb_s, 100 * gb_s / peak_gb_s);
  };
  level("SMs <-> L2", s.loaded, s.stored, r.gpu->l2_gb_s);
  level("L2 <-> HBM", s.read, s.written, r.gpu->hbm_gb_s);
  // Bytes are counted for every CTA; the rate of the fitted feed is what the hardware made of them.
  if (static_cast<double>(s.loaded + s.stored) / r.time.total * 1e-3 > r.gpu->l2_gb_s)
    text += "  SMs get more than L2 reads: clusters share loads by multicast, counted here for every CTA\n";
  text += fmt::format(
      "  {} CTAs, {} an SM at most, {:.2f} on average; {} of shared memory each; {} beside inputs and "
      "outputs\n",
      main.ctas, main.ctas_per_sm, occupancy_of(r), human_bytes(static_cast<double>(r.sram_bytes_per_cta)),
      human_bytes(static_cast<double>(r.extra_bytes)));
  text +=
      fmt::format("  alone: compute {:.2f} us, HBM {:.2f} us, L2 {:.2f} us, launches {:.2f} us\n  kernels:",
                  r.time.compute, r.time.hbm, r.time.l2, r.time.launch);
  for (const KernelPart& p : r.parts) text += fmt::format("  {} {:.2f} us", p.kernel, p.us);
  text += "\n";
  if (r.unsimulated_read + r.unsimulated_write > 0)
    text += "  the backward pass is counted in the bytes, not in the time\n";
  if (!r.time.in_range) text += "  outside the range the parameters were fitted on\n";
  return text;
}

std::string sm_timeline(const std::vector<CtaSpan>& spans) {
  Json events = Json::array();
  for (const CtaSpan& span : spans) {
    const auto slice = [&](const char* name, std::int64_t from, std::int64_t to) {
      if (to > from)
        events.push_back({{"name", name},
                          {"ph", "X"},
                          {"pid", span.sm},
                          {"tid", span.slot},
                          {"ts", static_cast<double>(from) * 1e-6},
                          {"dur", static_cast<double>(to - from) * 1e-6},
                          {"args", {{"cta", span.cta}}}});
    };
    slice("prologue", span.start_ps, span.loop_ps);
    slice("loop", span.loop_ps, span.end_ps);
  }
  return Json{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}}.dump() + "\n";
}

void print_report(const KernelReport& report, bool json, const std::string& out,
                  const std::vector<CtaSpan>& spans) {
  if (json)
    std::cout << to_json(report);
  else
    std::cout << to_text(report);
  if (out.empty()) return;
  std::ofstream file(out);
  file << sm_timeline(spans);
  file.close();
  if (!file) throw InputError({out, 0, 0}, "cannot be written");
}

}  // namespace tessera
