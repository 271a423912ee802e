// What a fabric file may say, and the node a GPU sits in when nobody says.
#include "models/hardware/fabric.hpp"

namespace tessera {
namespace {

// Halving and doubling all-reduce steps take 0.84-0.98 us on A100, H100 and H200 alike (fit to the NCCL
// tables of ai-dynamo/aiconfigurator), which bounds one GPU-to-GPU crossing of NVLink and switch.
constexpr double kNvlinkLatencyUs = 0.9;
constexpr const char* kNvlinkLatencySource =
    "estimated: ring step of NCCL all-reduce, fitted to aiconfigurator tables";
// No published figure for one PCIe hop: an order of magnitude, kept in one place.
constexpr double kPcieLatencyUs = 0.5;
constexpr const char* kPcieLatencySource = "estimated: order of one PCIe crossing, no published figure";

}  // namespace

void NvlinkSpec::describe(Fields& f) {
  f.choice("topology", topology, {"none", "switch", "mesh", "pairs"},
           {.doc = "switch: every GPU to an NVSwitch; mesh: a direct link to every other GPU; pairs: bridges "
                   "0-1, 2-3, .."});
  f.field("gb_s", gb_s,
          {.doc = "NVLink of one GPU, one way, all its links", .unit = "GB/s", .min = 0, .max = 1e5});
  f.field("latency_us", latency_us, {.doc = "GPU to GPU", .unit = "us", .min = 0, .max = 1e3});
  f.check(topology == "none" || gb_s > 0, "gb_s",
          "NVLink without bandwidth, expected more than 0 GB/s or topology: none");
  f.check(topology == "none" || latency_us > 0, "latency_us",
          "NVLink without latency, expected more than 0 us");
}

void PcieSpec::describe(Fields& f) {
  f.field("gpus_per_switch", gpus_per_switch,
          {.doc = "GPUs that share one PCIe switch; 0: each GPU has its own lanes to a socket",
           .min = 0,
           .max = 16});
  f.field("gb_s", gb_s,
          {.doc = "one link, one way, as host copies achieve",
           .unit = "GB/s",
           .min = 0.1,
           .max = 1e4,
           .required = true});
  f.field("latency_us", latency_us,
          {.doc = "one link", .unit = "us", .min = 1e-3, .max = 1e3, .required = true});
}

void HostSpec::describe(Fields& f) {
  f.field("sockets", sockets, {.doc = "CPU sockets", .min = 1, .max = 8});
  f.field("socket_gb_s", socket_gb_s,
          {.doc = "between neighbouring sockets, one way", .unit = "GB/s", .min = 0, .max = 1e4});
  f.field("socket_latency_us", socket_latency_us,
          {.doc = "between neighbouring sockets", .unit = "us", .min = 0, .max = 1e3});
  f.field("memory_bytes", memory_bytes,
          {.doc = "host memory of the node; 0: not stated", .unit = "B", .min = 0});
  f.field(
      "memory_gb_s", memory_gb_s,
      {.doc = "host memory bandwidth of one socket; 0: not stated", .unit = "GB/s", .min = 0, .max = 1e5});
  f.check(sockets == 1 || (socket_gb_s > 0 && socket_latency_us > 0), "sockets",
          "several sockets need socket_gb_s and socket_latency_us above 0");
}

void NicSpec::describe(Fields& f) {
  f.field("count", count, {.doc = "network cards", .min = 0, .max = 64});
  f.field("gb_s", gb_s, {.doc = "one card, one way", .unit = "GB/s", .min = 0, .max = 1e4});
  f.field("latency_us", latency_us, {.doc = "PCIe link to the card", .unit = "us", .min = 0, .max = 1e3});
  f.check(count == 0 || (gb_s > 0 && latency_us > 0), "count",
          "network cards need gb_s and latency_us above 0");
}

void FabricSpec::describe(Fields& f) {
  f.field("name", name, {.doc = "name of this file", .required = true});
  f.field("title", title, {.doc = "the machine", .required = true});
  f.field("source", source, {.doc = "source of every plain number without one of its own"});
  // 16 bounds the search over halves in bisection_gb_s (6,435 of them).
  f.field("gpus", gpus, {.doc = "GPUs of the node", .min = 1, .max = 16, .required = true});
  f.group("nvlink", nvlink, {.doc = "GPU-to-GPU links"});
  f.group("pcie", pcie, {.doc = "links to the host", .required = true});
  f.group("host", host, {.doc = "CPU side"});
  f.group("nics", nics, {.doc = "network side"});
  f.check(pcie.gpus_per_switch == 0 || gpus % pcie.gpus_per_switch == 0, "gpus",
          "the GPUs do not fill the PCIe switches, expected a multiple of pcie.gpus_per_switch");
  f.check(nvlink.topology != "pairs" || gpus % 2 == 0, "gpus", "NVLink pairs need an even number of GPUs");
  f.check(nvlink.topology == "none" || gpus > 1, "nvlink",
          "a single GPU has nobody to link to, expected topology: none");
}

FabricSpec usual_node(const Gpu& gpu) {
  FabricSpec spec;
  spec.name = "auto";
  spec.title = "usual node of " + gpu.name;
  spec.source = "derived from the GPU's own nvlink_gb_s, pcie_gb_s and gpus_per_node";
  spec.gpus = gpu.gpus_per_node;
  if (gpu.nvlink_gb_s > 0 && spec.gpus > 1) {
    spec.nvlink.topology = "switch";
    spec.nvlink.gb_s = gpu.nvlink_gb_s;
    spec.nvlink.latency_us = {kNvlinkLatencyUs, kNvlinkLatencySource};
  }
  spec.pcie.gb_s = gpu.pcie_gb_s;
  spec.pcie.latency_us = {kPcieLatencyUs, kPcieLatencySource};
  return spec;
}

FabricSpec load_fabric(const std::string& name_or_path, const Gpu& gpu) {
  return name_or_path == "auto" ? usual_node(gpu) : read_config<FabricSpec>("fabrics", name_or_path);
}

}  // namespace tessera
