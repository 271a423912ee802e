#include "sim/gpu/l2_tags.hpp"

#include <cmath>

namespace tessera {
namespace {

constexpr int kWays = 16;
constexpr int kPerCapacity = 128;  // table entries; linear between them, error below 1e-4
constexpr int kEntries = 3 * kPerCapacity + 1;

std::array<double, kEntries> survival_table() {
  std::array<double, kEntries> table{};
  for (int i = 0; i < kEntries; ++i) {
    const double mean = kWays * static_cast<double>(i) / kPerCapacity;
    double term = std::exp(-mean), sum = 0;
    for (int k = 0; k < kWays; ++k) {
      sum += term;
      term *= mean / (k + 1);
    }
    table[static_cast<std::size_t>(i)] = sum;
  }
  return table;
}

}  // namespace

double l2_survival(double capacities) {
  static const std::array<double, kEntries> table = survival_table();
  const double at = capacities * kPerCapacity;
  if (at >= kEntries - 1) return 0;
  const auto low = static_cast<std::size_t>(at);
  const double share = at - static_cast<double>(low);
  return table[low] * (1 - share) + table[low + 1] * share;
}

void L2Tags::grow() {
  const std::uint64_t old = generation_;
  const std::size_t old_size = size_;
  size_ *= 2;
  if (spare_.size() < size_) spare_.resize(size_);
  spare_.swap(pages_);
  used_ = 0, ++generation_;
  for (std::size_t i = 0; i < old_size; ++i) {
    Page& page = spare_[i];
    if (page.generation != old) continue;
    Page& to = slot(page.key);
    to = page;
    to.generation = generation_;
    ++used_;
  }
}

L2Tags::Touch L2Tags::touch(Page& page, std::uint64_t key, double warm, double bytes, std::int32_t begin,
                            std::int32_t end) {
  if (page.generation != generation_) {
    page = {key, passed_, passed_, begin, end, false, generation_};
    return {warm, 0, bytes};
  }
  const std::int32_t again = std::max(0, std::min(end, page.end) - std::max(begin, page.begin));
  const double known = static_cast<double>(again) / (end - begin);
  const double distance = (passed_ - page.seen_at) * per_byte_;
  const double flying = page.fetched_at == passed_ ? known * (1 - warm) : 0;
  page.seen_at = passed_;
  page.begin = std::min(begin, page.begin), page.end = std::max(end, page.end);
  const double extra = page.shared ? 0 : shared() - 1;
  page.shared = page.shared || again > 0;
  const double hit = distance == 0 ? 1 : l2_survival(distance);
  return {known * hit + (1 - known) * warm, flying,
          bytes * (known * (std::min(distance, 1.0) * shared() + extra) + 1 - known)};
}

}  // namespace tessera
