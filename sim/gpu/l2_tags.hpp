// The L2 of a GPU: tags at page granularity, least recently used first out, kept as fractions.
//
// A page is a slab of one tensor that a CTA walks as a whole. Addresses are hashed over sets of W = 16 ways,
// so after x capacities' worth of other bytes have been used, as many lines as a Poisson of mean W x has
// values fall on the set of a line, and of a page the share
//   S(x) = P(Poisson(W x) < W)
// is still there: all of it at 0.5, half near 1, none at 2. A touch hits that share and brings in the rest. A
// page used again counts as other bytes for the rest only as far as it was not near the front already.
// Where the L2 has two partitions, lines that SMs of both halves read lie in both: shared pages count twice.
// A CTA touches its pages when it starts and its bytes count while it runs: CTAs that follow each other
// closely through a page find it, however large it is.
// Source: capacities and duplication after RRZE-HPC/gpu-benches and markdewing/AI_kernels; hashed sets and
// LRU give the cliff between 0.6 and 1.3 of L2 that replayed kernels show. Left out: sectors, write policy.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "kernels/tiles/program.hpp"

namespace tessera {

struct L2Spec {
  double capacity_bytes = 0;  // usable by these kernels; 0: no L2
  bool two_partitions = false;
};

// S(x) above.
double l2_survival(double capacities);

class L2Tags {
 public:
  L2Tags() = default;
  explicit L2Tags(const L2Spec& spec) { open(spec); }
  // An L2 that nobody has touched, in the memory of the last one.
  void open(const L2Spec& spec) {
    spec_ = spec, per_byte_ = spec.capacity_bytes > 0 ? 1 / spec.capacity_bytes : 0;
    warm_ = {};
    forget();
  }
  // What has been touched, but not what replays leave.
  void forget() {
    passed_ = 0;
    size_ = kSmallest;
    if (enabled() && pages_.size() < size_) pages_.resize(size_);
    used_ = 0, ++generation_;
  }

  [[nodiscard]] bool enabled() const { return spec_.capacity_bytes > 0; }

  // What one touch found and what it adds to the bytes others see pass.
  struct Touch {
    double hit = 0;     // share of the bytes
    double flying = 0;  // of which another CTA has asked for only just now
    double passed = 0;
  };
  // `bytes` of rows [begin, end) of the page; rows of it that nobody has touched are a first touch.
  Touch touch(std::uint64_t key, Tensor tensor, double bytes, std::int32_t begin = 0, std::int32_t end = 1) {
    if (!enabled()) return {};
    Page& page = find(key);
    const double warm = warm_[static_cast<std::size_t>(tensor)];
    // Mostly: the page of CTAs that start together.
    if (page.generation == generation_ && page.seen_at == passed_ && page.shared && page.begin <= begin &&
        end <= page.end)
      return {1, page.fetched_at == passed_ ? 1 - warm : 0, 0};
    return touch(page, key, warm, bytes, begin, end);
  }
  // ... of a page that nobody touches again.
  [[nodiscard]] Touch touch_once(Tensor tensor, double bytes) const {
    if (!enabled()) return {};
    return {warm_[static_cast<std::size_t>(tensor)], 0, bytes};
  }
  // Bytes passed by now; may only grow.
  void advance(double passed) { passed_ = passed; }
  [[nodiscard]] double passed() const { return passed_; }

  // The first touch of a page of this tensor hits this share: what an earlier replay has left.
  void set_warm(Tensor tensor, double hit) { warm_[static_cast<std::size_t>(tensor)] = hit; }
  // What a replay finds of buffers used again after `bytes` of others.
  [[nodiscard]] double replay_hit(double bytes) const {
    return enabled() ? l2_survival(bytes / spec_.capacity_bytes) : 0;
  }

  [[nodiscard]] double shared() const { return spec_.two_partitions ? 2 : 1; }  // copies of a shared page

 private:
  struct Page {
    std::uint64_t key = 0;
    double seen_at = 0;               // bytes passed at the last touch
    double fetched_at = 0;            // ... and at the first
    std::int32_t begin = 0, end = 0;  // rows touched so far
    bool shared = false;              // read by more than one CTA
    std::uint64_t generation = 0;     // free if not the present one
  };

  Touch touch(Page& page, std::uint64_t key, double warm, double bytes, std::int32_t begin, std::int32_t end);
  Page& find(std::uint64_t key) {
    Page& page = slot(key);
    if (page.generation == generation_) return page;
    if (++used_ * 2 <= size_) return page;
    grow();
    ++used_;
    return slot(key);
  }
  // Where the page is, or belongs.
  Page& slot(std::uint64_t key) {
    const std::size_t mask = size_ - 1;
    std::size_t at = static_cast<std::size_t>(key * 0x9E3779B97F4A7C15ULL >> 20) & mask;
    while (pages_[at].generation == generation_ && pages_[at].key != key) at = (at + 1) & mask;
    return pages_[at];
  }
  void grow();

  static constexpr std::size_t kSmallest = 1024;

  L2Spec spec_;
  double per_byte_ = 0;      // of the capacity
  std::vector<Page> pages_;  // a hash table of the first size_
  std::vector<Page> spare_;  // to grow into
  std::size_t size_ = kSmallest, used_ = 0;
  std::uint64_t generation_ = 0;
  double passed_ = 0;
  std::array<double, static_cast<std::size_t>(Tensor::count)> warm_{};
};

}  // namespace tessera
