#include "models/hardware/fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <boost/graph/dijkstra_shortest_paths.hpp>
#include <cmath>
#include <limits>

#include "models/base/check.hpp"

namespace tessera {
namespace {

struct EdgeData {
  int link = 0;
  std::int64_t weight_ps = 0;  // integer latency, so that equal routes compare equal on every machine
};
using Net = boost::adjacency_list<boost::vecS, boost::vecS, boost::undirectedS, boost::no_property, EdgeData>;
using Vertex = boost::graph_traits<Net>::vertex_descriptor;

// Tree of least-latency routes from one GPU: the vertex before each vertex.
using Predecessors = std::vector<Vertex>;

}  // namespace

struct Fabric::Graph {
  FabricSpec spec;
  Net net;
  std::vector<std::string> names;
  std::vector<Link> links;
  std::vector<Vertex> gpus, hosts, nics;
  std::vector<Predecessors> trees;  // one per GPU

  Vertex add(std::string name) {
    names.push_back(std::move(name));
    return boost::add_vertex(net);
  }
  void join(Vertex a, Vertex b, LinkKind kind, double gb_s, double latency_us) {
    const int id = static_cast<int>(links.size());
    links.push_back({names[a], names[b], kind, gb_s, latency_us});
    boost::add_edge(a, b, EdgeData{id, microseconds(latency_us).count()}, net);
  }

  void build();
  void add_nvlink();
  void add_nics(const std::vector<Vertex>& parents);
  [[nodiscard]] Route route(int from_gpu, Vertex to) const;
  [[nodiscard]] Route nearest(int from_gpu, const std::vector<Vertex>& targets) const;
  [[nodiscard]] std::int64_t flow_between(std::uint32_t half, const std::vector<char>& used) const;
};

void Fabric::Graph::build() {
  for (int i = 0; i < spec.gpus; ++i) gpus.push_back(add(fmt::format("gpu{}", i)));
  for (int i = 0; i < spec.host.sockets; ++i) {
    hosts.push_back(add(fmt::format("host{}", i)));
    if (i > 0)
      join(hosts[static_cast<std::size_t>(i) - 1], hosts.back(), LinkKind::socket, spec.host.socket_gb_s,
           spec.host.socket_latency_us);
  }
  add_nvlink();

  // GPUs (or the switches above them) are dealt to the sockets in contiguous runs, as mainboards do.
  const std::int64_t per_switch = spec.pcie.gpus_per_switch;
  const std::int64_t branches = per_switch > 0 ? spec.gpus / per_switch : spec.gpus;
  std::vector<Vertex> parents = hosts;
  for (std::int64_t branch = 0; branch < branches; ++branch) {
    const Vertex host = hosts[static_cast<std::size_t>(branch * spec.host.sockets / branches)];
    if (per_switch == 0) {
      join(gpus[static_cast<std::size_t>(branch)], host, LinkKind::pcie, spec.pcie.gb_s,
           spec.pcie.latency_us);
      continue;
    }
    if (branch == 0) parents.clear();
    const Vertex pcie_switch = add(fmt::format("pcie{}", branch));
    parents.push_back(pcie_switch);
    join(pcie_switch, host, LinkKind::pcie, spec.pcie.gb_s, spec.pcie.latency_us);
    for (std::int64_t i = branch * per_switch; i < (branch + 1) * per_switch; ++i)
      join(gpus[static_cast<std::size_t>(i)], pcie_switch, LinkKind::pcie, spec.pcie.gb_s,
           spec.pcie.latency_us);
  }
  add_nics(parents);

  for (const Vertex gpu : gpus) {
    Predecessors before(boost::num_vertices(net));
    boost::dijkstra_shortest_paths(
        net, gpu, boost::weight_map(boost::get(&EdgeData::weight_ps, net)).predecessor_map(before.data()));
    trees.push_back(std::move(before));
  }
}

void Fabric::Graph::add_nvlink() {
  const NvlinkSpec& nvlink = spec.nvlink;
  if (nvlink.topology == "switch") {
    // One vertex stands for all NVSwitches of the node: each GPU spreads its links over every switch.
    const Vertex nvswitch = add("nvswitch");
    for (const Vertex gpu : gpus) join(gpu, nvswitch, LinkKind::nvlink, nvlink.gb_s, nvlink.latency_us / 2);
  } else if (nvlink.topology == "mesh") {
    const double share = nvlink.gb_s / static_cast<double>(gpus.size() - 1);
    for (std::size_t a = 0; a < gpus.size(); ++a)
      for (std::size_t b = a + 1; b < gpus.size(); ++b)
        join(gpus[a], gpus[b], LinkKind::nvlink, share, nvlink.latency_us);
  } else if (nvlink.topology == "pairs") {
    for (std::size_t a = 0; a + 1 < gpus.size(); a += 2)
      join(gpus[a], gpus[a + 1], LinkKind::nvlink, nvlink.gb_s, nvlink.latency_us);
  }
}

void Fabric::Graph::add_nics(const std::vector<Vertex>& parents) {
  for (std::int64_t i = 0; i < spec.nics.count; ++i) {
    nics.push_back(add(fmt::format("nic{}", i)));
    const auto parent =
        static_cast<std::size_t>(i * static_cast<std::int64_t>(parents.size()) / spec.nics.count);
    join(parents[parent], nics.back(), LinkKind::network, spec.nics.gb_s, spec.nics.latency_us);
  }
}

Route Fabric::Graph::route(int from_gpu, Vertex to) const {
  TESSERA_CHECK(from_gpu >= 0 && from_gpu < spec.gpus, "a GPU of this node");
  const Vertex from = gpus[static_cast<std::size_t>(from_gpu)];
  const Predecessors& before = trees[static_cast<std::size_t>(from_gpu)];
  Route route;
  if (to == from) return route;
  route.gb_s = std::numeric_limits<double>::infinity();
  for (Vertex at = to; at != from; at = before[at]) {
    TESSERA_CHECK(before[at] != at, "every part of a node is connected");
    const int id = net[boost::edge(before[at], at, net).first].link;
    route.links.push_back(id);
    const Link& link = links[static_cast<std::size_t>(id)];
    route.gb_s = std::min(route.gb_s, link.gb_s);
    route.latency_us += link.latency_us;
  }
  std::reverse(route.links.begin(), route.links.end());
  return route;
}

Route Fabric::Graph::nearest(int from_gpu, const std::vector<Vertex>& targets) const {
  TESSERA_CHECK(!targets.empty(), "something to reach");
  Route best = route(from_gpu, targets[0]);
  for (std::size_t i = 1; i < targets.size(); ++i) {
    Route other = route(from_gpu, targets[i]);
    if (other.latency_us < best.latency_us) best = std::move(other);
  }
  return best;
}

// Maximum flow, in MB/s, from the GPUs of bit set `half` to all others over the links marked `used`.
std::int64_t Fabric::Graph::flow_between(std::uint32_t half, const std::vector<char>& used) const {
  using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
  struct Arc {
    std::int64_t capacity = 0, residual = 0;
    Traits::edge_descriptor reverse;
  };
  struct Node {
    boost::default_color_type color = boost::white_color;
    long distance = 0;
    Traits::edge_descriptor predecessor;
  };
  using FlowNet = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, Node, Arc>;
  FlowNet flow(names.size() + 2);
  const auto connect = [&flow](std::size_t a, std::size_t b, std::int64_t forth, std::int64_t back) {
    const auto there = boost::add_edge(a, b, flow).first;
    const auto return_way = boost::add_edge(b, a, flow).first;
    flow[there] = {forth, 0, return_way};
    flow[return_way] = {back, 0, there};
  };
  for (auto [edge, end] = boost::edges(net); edge != end; ++edge) {
    const auto id = static_cast<std::size_t>(net[*edge].link);
    if (used[id] == 0) continue;
    const auto mb_s = static_cast<std::int64_t>(std::llround(links[id].gb_s * 1e3));
    connect(boost::source(*edge, net), boost::target(*edge, net), mb_s, mb_s);
  }
  const std::size_t from = names.size(), to = names.size() + 1;
  constexpr std::int64_t kUnbounded = std::int64_t{1} << 50;
  for (std::size_t i = 0; i < gpus.size(); ++i)
    (half >> i & 1) != 0 ? connect(from, gpus[i], kUnbounded, 0) : connect(gpus[i], to, kUnbounded, 0);
  return boost::boykov_kolmogorov_max_flow(
      flow, boost::get(&Arc::capacity, flow), boost::get(&Arc::residual, flow),
      boost::get(&Arc::reverse, flow), boost::get(&Node::predecessor, flow), boost::get(&Node::color, flow),
      boost::get(&Node::distance, flow), boost::get(boost::vertex_index, flow), from, to);
}

Fabric::Fabric(FabricSpec spec) : graph_(std::make_unique<Graph>()) {
  graph_->spec = std::move(spec);
  graph_->build();
}
Fabric::~Fabric() = default;
Fabric::Fabric(Fabric&&) noexcept = default;
Fabric& Fabric::operator=(Fabric&&) noexcept = default;

const FabricSpec& Fabric::spec() const { return graph_->spec; }
int Fabric::gpus() const { return static_cast<int>(graph_->gpus.size()); }
const std::vector<Link>& Fabric::links() const { return graph_->links; }

Route Fabric::gpu_to_gpu(int from, int to) const {
  TESSERA_CHECK(to >= 0 && to < gpus(), "a GPU of this node");
  return graph_->route(from, graph_->gpus[static_cast<std::size_t>(to)]);
}
Route Fabric::gpu_to_host(int gpu) const { return graph_->nearest(gpu, graph_->hosts); }
Route Fabric::gpu_to_nic(int gpu) const { return graph_->nearest(gpu, graph_->nics); }

double Fabric::bisection_gb_s() const {
  if (gpus() < 2) return 0;
  std::vector<char> used(links().size(), 0);
  for (int a = 0; a < gpus(); ++a)
    for (int b = a + 1; b < gpus(); ++b)
      for (const int id : gpu_to_gpu(a, b).links) used[static_cast<std::size_t>(id)] = 1;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  // GPU 0 always sits in the first half: links are full duplex, so a half and its complement carry the same.
  for (std::uint32_t half = 1; half < (1u << gpus()); half += 2)
    if (std::popcount(half) == gpus() / 2 || (gpus() % 2 == 1 && std::popcount(half) == gpus() / 2 + 1))
      least = std::min(least, graph_->flow_between(half, used));
  return static_cast<double>(least) * 1e-3;
}

std::string Fabric::describe(const Route& route, int from_gpu) const {
  std::string at = graph_->names[graph_->gpus[static_cast<std::size_t>(from_gpu)]];
  std::string out = at;
  for (const int id : route.links) {
    const Link& link = links()[static_cast<std::size_t>(id)];
    at = link.from == at ? link.to : link.from;
    out += fmt::format(" -{}-> {}", name_of(link.kind), at);
  }
  return out;
}

void Fabric::require_gpus(std::int64_t wanted, const std::string& what) const {
  if (wanted <= gpus()) return;
  throw InputError(
      fmt::format("{}: asks for {} GPUs, but a node of fabric '{}' ({}) has {}, expected at most {}", what,
                  wanted, spec().name, spec().title, gpus(), gpus()));
}

const char* name_of(LinkKind kind) {
  switch (kind) {
    case LinkKind::nvlink:
      return "nvlink";
    case LinkKind::pcie:
      return "pcie";
    case LinkKind::socket:
      return "socket";
    case LinkKind::network:
      return "network";
  }
  TESSERA_CHECK(false, "every LinkKind has a name");
  return "";
}

}  // namespace tessera
