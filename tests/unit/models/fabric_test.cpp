// Routes, bandwidths and latencies of a node, worked out by hand; mistakes in a fabric file.
#include "models/hardware/fabric.hpp"
#include "tests/support/spec_text.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace tessera {
namespace {

// Eight GPUs of 400 GB/s NVLink at 1 us, two to a PCIe switch of 50 GB/s at 0.5 us, two sockets.
FabricSpec server(const std::string& topology = "switch", std::int64_t gpus = 8) {
  FabricSpec spec;
  spec.name = "server";
  spec.title = "worked example";
  spec.gpus = gpus;
  spec.nvlink.topology = topology;
  spec.nvlink.gb_s.value = 400;
  spec.nvlink.latency_us.value = 1;
  spec.pcie.gpus_per_switch = 2;
  spec.pcie.gb_s.value = 50;
  spec.pcie.latency_us.value = 0.5;
  spec.host.sockets = 2;
  spec.host.socket_gb_s.value = 40;
  spec.host.socket_latency_us.value = 0.25;
  return spec;
}

TEST(Fabric, BehindASwitchEveryPairHasTheFullRate) {
  const Fabric fabric(server());
  for (int a = 0; a < 8; ++a)
    for (int b = 0; b < 8; ++b) {
      if (a == b) continue;
      const Route route = fabric.gpu_to_gpu(a, b);
      EXPECT_EQ(route.gb_s, 400);
      EXPECT_DOUBLE_EQ(route.latency_us, 1);
      EXPECT_EQ(route.links.size(), 2u);
    }
  EXPECT_EQ(fabric.describe(fabric.gpu_to_gpu(1, 6), 1), "gpu1 -nvlink-> nvswitch -nvlink-> gpu6");
}

TEST(Fabric, AMeshSplitsTheRateOverItsPeers) {
  const Fabric fabric(server("mesh", 4));
  const Route route = fabric.gpu_to_gpu(0, 3);
  EXPECT_NEAR(route.gb_s, 400.0 / 3, 1e-9);
  EXPECT_EQ(route.links.size(), 1u);
}

TEST(Fabric, PairsAreBridgedAndOthersGoOverPcie) {
  const Fabric fabric(server("pairs", 4));
  EXPECT_EQ(fabric.gpu_to_gpu(0, 1).gb_s, 400);
  const Route across = fabric.gpu_to_gpu(1, 2);  // gpu1 - pcie0 - host0 - host1 - pcie1 - gpu2
  EXPECT_EQ(across.gb_s, 40);
  EXPECT_DOUBLE_EQ(across.latency_us, 4 * 0.5 + 0.25);
  EXPECT_EQ(fabric.describe(across, 1),
            "gpu1 -pcie-> pcie0 -pcie-> host0 -socket-> host1 -pcie-> pcie1 -pcie-> gpu2");
}

TEST(Fabric, WithoutNvlinkGpusOfOneSwitchMeetThere) {
  const Fabric fabric(server("none"));
  EXPECT_EQ(fabric.describe(fabric.gpu_to_gpu(4, 5), 4), "gpu4 -pcie-> pcie2 -pcie-> gpu5");
  EXPECT_EQ(fabric.gpu_to_gpu(0, 3).links.size(), 4u) << "same socket: up to host0 and down";
  EXPECT_EQ(fabric.gpu_to_gpu(0, 7).links.size(), 5u) << "other socket: one more";
}

TEST(Fabric, RoutesAreSymmetricAndNeverReuseALink) {
  for (const char* topology : {"none", "switch", "mesh", "pairs"}) {
    const Fabric fabric(server(topology));
    for (int a = 0; a < 8; ++a)
      for (int b = 0; b < 8; ++b) {
        const Route there = fabric.gpu_to_gpu(a, b), back = fabric.gpu_to_gpu(b, a);
        EXPECT_EQ(there.gb_s, back.gb_s);
        EXPECT_DOUBLE_EQ(there.latency_us, back.latency_us);
        std::vector<int> ids = there.links;
        std::sort(ids.begin(), ids.end());
        EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
      }
  }
}

TEST(Fabric, ARouteToItselfIsEmpty) {
  const Route route = Fabric(server()).gpu_to_gpu(3, 3);
  EXPECT_TRUE(route.links.empty());
  EXPECT_EQ(route.latency_us, 0);
}

TEST(Fabric, HostIsTheNearestSocketAndNicTheNearestCard) {
  FabricSpec spec = server();
  spec.nics.count = 4;
  spec.nics.gb_s.value = 25;
  spec.nics.latency_us.value = 0.5;
  const Fabric fabric(spec);
  EXPECT_EQ(fabric.describe(fabric.gpu_to_host(0), 0), "gpu0 -pcie-> pcie0 -pcie-> host0");
  EXPECT_EQ(fabric.describe(fabric.gpu_to_host(7), 7), "gpu7 -pcie-> pcie3 -pcie-> host1");
  EXPECT_EQ(fabric.gpu_to_host(7).gb_s, 50);
  EXPECT_EQ(fabric.describe(fabric.gpu_to_nic(5), 5), "gpu5 -pcie-> pcie2 -network-> nic2");
  EXPECT_EQ(fabric.gpu_to_nic(5).gb_s, 25);
}

// Bisection by hand: the narrowest cut between any two halves of the GPUs, over the links GPU routes use.
TEST(Fabric, BisectionOfASwitchIsHalfTheGpusRate) {
  EXPECT_DOUBLE_EQ(Fabric(server()).bisection_gb_s(), 4 * 400);
}

TEST(Fabric, BisectionOfAMeshIsTheLinksBetweenTheHalves) {
  EXPECT_NEAR(Fabric(server("mesh", 4)).bisection_gb_s(), 4 * 400.0 / 3, 0.01);
}

TEST(Fabric, BisectionOverPcieIsTheNarrowestCut) {
  EXPECT_DOUBLE_EQ(Fabric(server("none")).bisection_gb_s(), 40) << "the socket link";
  FabricSpec flat = server("none", 4);
  flat.pcie.gpus_per_switch = 0;
  flat.host.sockets = 1;
  EXPECT_DOUBLE_EQ(Fabric(flat).bisection_gb_s(), 2 * 50);
}

TEST(Fabric, BisectionOfOneGpuIsNothing) {
  FabricSpec spec = server("none", 1);
  spec.pcie.gpus_per_switch = 0;
  EXPECT_EQ(Fabric(spec).bisection_gb_s(), 0);
}

// The same bisection by brute force: a cut's capacity summed over every assignment of the other vertices.
double slow_bisection(const Fabric& fabric) {
  std::vector<std::string> names;
  const auto index = [&names](const std::string& name) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at != names.end()) return static_cast<int>(at - names.begin());
    names.push_back(name);
    return static_cast<int>(names.size()) - 1;
  };
  struct Edge {
    int a, b;
    double gb_s;
  };
  std::vector<char> used(fabric.links().size(), 0);
  for (int a = 0; a < fabric.gpus(); ++a)
    for (int b = 0; b < fabric.gpus(); ++b)
      for (const int id : fabric.gpu_to_gpu(a, b).links) used[static_cast<std::size_t>(id)] = 1;
  for (int i = 0; i < fabric.gpus(); ++i) index("gpu" + std::to_string(i));
  std::vector<Edge> edges;
  for (std::size_t i = 0; i < used.size(); ++i)
    if (used[i] != 0)
      edges.push_back({index(fabric.links()[i].from), index(fabric.links()[i].to), fabric.links()[i].gb_s});
  double least = 1e30;
  for (std::uint32_t side = 0; side < (1u << names.size()); ++side) {
    int gpus_on_this_side = 0;
    for (int i = 0; i < fabric.gpus(); ++i) gpus_on_this_side += side >> i & 1;
    if (gpus_on_this_side != fabric.gpus() / 2) continue;
    double cut = 0;
    for (const Edge& edge : edges)
      if ((side >> edge.a & 1) != (side >> edge.b & 1)) cut += edge.gb_s;
    least = std::min(least, cut);
  }
  return least;
}

TEST(Fabric, BisectionEqualsTheMinimumOverAllCuts) {
  for (const char* topology : {"none", "switch", "mesh", "pairs"})
    for (const std::int64_t gpus : {2, 4, 6})
      for (const std::int64_t per_switch : {0, 1, 2}) {
        FabricSpec spec = server(topology, gpus);
        spec.pcie.gpus_per_switch = per_switch;
        const Fabric fabric(spec);
        EXPECT_NEAR(fabric.bisection_gb_s(), slow_bisection(fabric), 0.02)
            << topology << ' ' << gpus << ' ' << per_switch;
      }
}

TEST(Fabric, AskingForMoreGpusThanTheNodeHasSaysSo) {
  const Fabric fabric(server());
  EXPECT_NO_THROW(fabric.require_gpus(8, "parallel"));
  try {
    fabric.require_gpus(16, "parallel");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "parallel: asks for 16 GPUs, but a node of fabric 'server' (worked example) has 8, expected "
                 "at most 8");
  }
}

TEST(Fabric, TheUsualNodeFollowsTheGpu) {
  Gpu gpu;
  gpu.name = "toy";
  gpu.gpus_per_node.value = 8;
  gpu.nvlink_gb_s.value = 300;
  gpu.pcie_gb_s.value = 26;
  const Fabric linked(load_fabric("auto", gpu));
  EXPECT_EQ(linked.gpus(), 8);
  EXPECT_EQ(linked.gpu_to_gpu(0, 7).gb_s, 300);
  EXPECT_EQ(linked.gpu_to_host(0).gb_s, 26);
  gpu.nvlink_gb_s.value = 0;
  EXPECT_EQ(Fabric(usual_node(gpu)).gpu_to_gpu(0, 7).gb_s, 26);
  gpu.gpus_per_node.value = 1;
  gpu.nvlink_gb_s.value = 300;
  EXPECT_EQ(Fabric(usual_node(gpu)).spec().nvlink.topology, "none");
}

std::string error_of(const std::string& text) { return test::spec_error<FabricSpec>(text, "node.yaml"); }

TEST(FabricSpec, MistakesAreNamed) {
  const std::string pcie = "pcie: {gb_s: 25, latency_us: 0.5}\n";
  EXPECT_EQ(error_of("name: a\ntitle: A\ngpus: 4\n" + pcie), "no error");
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 4\n").find("pcie"), std::string::npos) << "pcie is required";
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 32\n" + pcie).find("from 1 to 16"), std::string::npos);
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 4\nnvlink: {topology: swich}\n" + pcie)
                .find("did you mean 'switch'?"),
            std::string::npos);
  EXPECT_NE(
      error_of("name: a\ntitle: A\ngpus: 4\nnvlink: {topology: switch}\n" + pcie).find("without bandwidth"),
      std::string::npos);
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 3\npcie: {gpus_per_switch: 2, gb_s: 25, latency_us: 0.5}\n")
                .find("do not fill"),
            std::string::npos);
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 4\nhost: {sockets: 2}\n" + pcie).find("socket_gb_s"),
            std::string::npos);
  EXPECT_NE(error_of("name: a\ntitle: A\ngpus: 4\nnics: {count: 2}\n" + pcie).find("network cards need"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
