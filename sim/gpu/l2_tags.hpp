// The L2 of a GPU: tags at page granularity with random replacement, kept as fractions.
//
// A page is a slab of one tensor that a CTA walks as a whole. Replacement takes victims without regard to
// recency, so of a page the share
//   f = exp(-(I - I_page) / C)
// is still there after I - I_page bytes have been brought in since its last use; a touch hits that share and
// brings in the rest. Replayed in a cycle of F bytes this gives the hit rate h = exp(-(1 - h) F / C): all of
// it while F <= C, a gradual end beyond, as measured L2s show.
// Where the L2 has two partitions, a line is kept at home and, when the other half's SMs read it, there too:
// half of all single readers are on the far side (factor 1.5), shared pages end up in both (factor 2).
// A CTA touches its pages when it starts and its bytes flow into I while it runs: CTAs that follow each other
// closely through a page find it, however large it is.
// Source: capacities and duplication after RRZE-HPC/gpu-benches and markdewing/AI_kernels. Left out: sets
// and sectors, the order inside a page.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/tiles/program.hpp"

namespace tessera {

struct L2Spec {
  double capacity_bytes = 0;  // usable by these kernels; 0: no L2
  bool two_partitions = false;
};

class L2Tags {
 public:
  explicit L2Tags(const L2Spec& spec) : spec_(spec) {
    if (enabled()) pages_.resize(1024);
  }

  [[nodiscard]] bool enabled() const { return spec_.capacity_bytes > 0; }

  // What one touch found and what it will displace.
  struct Touch {
    double hit = 0;       // share of the bytes
    double inserted = 0;  // bytes brought in, every copy counted
  };
  Touch touch(std::uint64_t key, Tensor tensor, double bytes) {
    if (!enabled()) return {};
    Page& page = find(key);
    if (page.key == 0) {
      page.key = key;
      page.seen_at = inserted_;
      const double hit = warm_[static_cast<std::size_t>(tensor)];
      return {hit, bytes * (1 - hit) * single()};
    }
    const double hit =
        page.seen_at == inserted_ ? 1 : std::exp((page.seen_at - inserted_) / spec_.capacity_bytes);
    const double copies = page.shared ? shared() : single();
    double in = bytes * (1 - hit) * copies;
    if (!page.shared) {
      page.shared = true;
      in += bytes * (shared() - copies);
    }
    page.seen_at = inserted_;
    return {hit, in};
  }
  // Bytes brought in by now; may only grow.
  void advance(double inserted) { inserted_ = inserted; }
  [[nodiscard]] double inserted() const { return inserted_; }

  // The first touch of a page of this tensor hits this share: what an earlier replay has left.
  void set_warm(Tensor tensor, double hit) { warm_[static_cast<std::size_t>(tensor)] = hit; }

  [[nodiscard]] double single() const { return spec_.two_partitions ? 1.5 : 1; }
  [[nodiscard]] double shared() const { return spec_.two_partitions ? 2 : 1; }
  [[nodiscard]] const L2Spec& spec() const { return spec_; }

 private:
  struct Page {
    std::uint64_t key = 0;  // 0: free
    double seen_at = 0;     // I at the last touch
    bool shared = false;    // read by more than one CTA
  };

  Page& find(std::uint64_t key) {
    if (used_ * 2 > pages_.size()) grow();
    const std::size_t mask = pages_.size() - 1;
    std::size_t at = static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> 20) & mask;
    while (pages_[at].key != 0 && pages_[at].key != key) at = (at + 1) & mask;
    if (pages_[at].key == 0) ++used_;
    return pages_[at];
  }
  void grow() {
    std::vector<Page> old(pages_.size() * 2);
    old.swap(pages_);
    used_ = 0;
    for (const Page& page : old)
      if (page.key != 0) find(page.key) = page;
  }

  L2Spec spec_;
  std::vector<Page> pages_;
  std::size_t used_ = 0;
  double inserted_ = 0;
  std::array<double, static_cast<std::size_t>(Tensor::count)> warm_{};
};

}  // namespace tessera
