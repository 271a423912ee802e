// How the GPUs of one node reach each other, their hosts and the network.
//
// A node is an undirected graph of GPUs, NVSwitches, PCIe switches, host sockets and NICs; every edge is a
// full-duplex link with a bandwidth (per direction) and a latency. A route is the path of least latency; its
// bandwidth is that of its narrowest link, its latency the sum. Bisection bandwidth is the smallest maximum
// flow between two equal halves of the GPUs over the links that GPU-to-GPU routes use. Sharing of a link by
// concurrent transfers is left to the simulator, which gets the link ids of each route.
//
// Left out: several nodes, multipath, switch-internal contention, read/write asymmetry of PCIe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

// The NVLink side of a node.
struct NvlinkSpec {
  std::string topology = "none";  // none | switch | mesh | pairs
  Sourced<double> gb_s;           // one way, all links of one GPU
  Sourced<double> latency_us;     // GPU to GPU
  void describe(Fields& f);
};

// The PCIe side: GPUs hang in equal groups under switches (or straight under a socket), switches under
// sockets.
struct PcieSpec {
  std::int64_t gpus_per_switch = 0;  // 0: no switch, each GPU has its own lanes to a socket
  Sourced<double> gb_s;              // one way, as host copies achieve
  Sourced<double> latency_us;        // one link
  void describe(Fields& f);
};

struct HostSpec {
  std::int64_t sockets = 1;
  Sourced<double> socket_gb_s;  // between neighbouring sockets, one way
  Sourced<double> socket_latency_us;
  Sourced<double> memory_bytes;  // host memory of the node; 0: not stated
  Sourced<double> memory_gb_s;   // of one socket; 0: not stated
  void describe(Fields& f);
};

struct NicSpec {
  std::int64_t count = 0;  // spread evenly over the PCIe switches (or sockets)
  Sourced<double> gb_s;    // one way
  Sourced<double> latency_us;
  void describe(Fields& f);
};

struct FabricSpec {
  std::string name;
  std::string title;
  std::string source;
  std::int64_t gpus = 1;
  NvlinkSpec nvlink;
  PcieSpec pcie;
  HostSpec host;
  NicSpec nics;
  void describe(Fields& f);
};

enum class LinkKind { nvlink, pcie, socket, network };
const char* name_of(LinkKind kind);

struct Link {
  std::string from, to;  // "gpu0", "nvswitch", "pcie1", "host0", "nic3"
  LinkKind kind = LinkKind::pcie;
  double gb_s = 0;
  double latency_us = 0;
};

struct Route {
  std::vector<int> links;  // ids into Fabric::links(), in order of travel
  double gb_s = 0;         // narrowest link; 0 for the empty route from a GPU to itself
  double latency_us = 0;
};

class Fabric {
 public:
  explicit Fabric(FabricSpec spec);
  ~Fabric();
  Fabric(Fabric&&) noexcept;
  Fabric& operator=(Fabric&&) noexcept;

  [[nodiscard]] const FabricSpec& spec() const;
  [[nodiscard]] int gpus() const;
  [[nodiscard]] const std::vector<Link>& links() const;

  [[nodiscard]] Route gpu_to_gpu(int from, int to) const;
  [[nodiscard]] Route gpu_to_host(int gpu) const;  // the nearest socket
  [[nodiscard]] Route gpu_to_nic(int gpu) const;   // the nearest NIC; the fabric must have one
  [[nodiscard]] double bisection_gb_s() const;     // one way; 0 for a single GPU

  // "gpu0 -nvlink-> nvswitch -nvlink-> gpu5", for people.
  [[nodiscard]] std::string describe(const Route& route, int from_gpu) const;

  // Throws InputError when `wanted` GPUs are more than the node has. `what` names the key that asks.
  void require_gpus(std::int64_t wanted, const std::string& what) const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

// The node a GPU usually sits in, from its own description: gpus_per_node behind an NVSwitch (or PCIe only).
FabricSpec usual_node(const Gpu& gpu);

// `auto`, a name under configs/fabrics, or a path.
FabricSpec load_fabric(const std::string& name_or_path, const Gpu& gpu);

}  // namespace tessera
