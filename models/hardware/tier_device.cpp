#include "models/hardware/tier_device.hpp"

#include <algorithm>

namespace tessera {
namespace {

// H100, copies of 2 MB: about 50 GB/s one way, 83.4 both ways (vLLM KV offloading post, 2026-01-08).
constexpr double kBothOverOne = 83.4 / 50;
constexpr const char* kBothSource = "estimated: 83.4 / 50 of one way, as on the H100 (vLLM post, 2026-01-08)";
// One cudaMemcpyAsync takes 5 to 7 us (arXiv 2602.21548 section 5.2).
constexpr double kCopyUs = 5;
constexpr const char* kCopySource = "arXiv 2602.21548 section 5.2: 5-7 us a cudaMemcpyAsync call";
constexpr double kLatencyUs = 10;
constexpr const char* kLatencySource = "estimated: launch and completion of one host copy";

}  // namespace

void TierDevice::describe(Fields& f) {
  f.field("name", name, {.doc = "a name for the device"});
  f.field("title", title, {.doc = "the name people read"});
  f.field("source", source, {.doc = "where plain numbers come from"});
  const Doc bandwidth{.doc = "", .unit = "GB/s", .min = 1e-3, .max = 1e5, .required = true};
  Doc doc = bandwidth;
  doc.doc = "toward the GPU, large pieces";
  f.field("read_gb_s", read_gb_s, doc);
  doc.doc = "away from the GPU, large pieces";
  f.field("write_gb_s", write_gb_s, doc);
  doc.doc = "both directions together when both are busy";
  f.field("both_gb_s", both_gb_s, doc);
  f.field("peak_gb_s", peak_gb_s,
          {.doc = "one way on paper; 0: the larger rate", .unit = "GB/s", .min = 0, .max = 1e5});
  f.field("latency_us", latency_us, {.doc = "before the first byte", .unit = "us", .min = 0, .max = 6e7});
  f.field("copy_us", copy_us, {.doc = "least time of one piece", .unit = "us", .min = 0, .max = 1e6});
  f.check(both_gb_s >= std::max(read_gb_s.value, write_gb_s.value), "both_gb_s",
          "both directions together are slower than one, expected at least the larger of read_gb_s and "
          "write_gb_s");
  f.check(peak_gb_s == 0 || peak_gb_s >= std::max(read_gb_s.value, write_gb_s.value), "peak_gb_s",
          "is below what the device achieves, expected at least read_gb_s and write_gb_s");
}

double TierDevice::peak() const {
  return peak_gb_s > 0 ? peak_gb_s.value : std::max(read_gb_s.value, write_gb_s.value);
}
double TierDevice::read_rate(double piece_bytes) const {
  return copy_us > 0 ? std::min<double>(read_gb_s, piece_bytes / (copy_us * 1e3)) : read_gb_s.value;
}

TierDevice host_link_of(double pcie_gb_s, const std::string& source) {
  TierDevice link;
  link.name = "auto";
  link.title = "host link of the GPU";
  link.source = source;
  link.read_gb_s = link.write_gb_s = {pcie_gb_s, source};
  link.both_gb_s = {pcie_gb_s * kBothOverOne, kBothSource};
  link.latency_us = {kLatencyUs, kLatencySource};
  link.copy_us = {kCopyUs, kCopySource};
  return link;
}

}  // namespace tessera
