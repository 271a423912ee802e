#include "sim/memory/tiers/tier_link.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr double kEndOfTime = 9.0e18;  // ps

}  // namespace

TierLink::TierLink(const TierDevice& device, std::int64_t lanes) {
  const auto n = static_cast<double>(lanes);
  spec_.name = device.name;
  spec_.gb_s = {device.read_gb_s * n, device.write_gb_s * n};
  spec_.both_gb_s = device.both_gb_s * n;
  spec_.peak_gb_s = device.peak() * n;
  spec_.latency_ps = microseconds(device.latency_us).count();
  spec_.copy_ps = microseconds(device.copy_us).count();
}

double TierLink::piece_ps(Direction direction, std::int64_t piece_bytes, bool other_busy) const {
  double gb_s = spec_.gb_s[index(direction)];
  if (other_busy) gb_s = std::min(gb_s, spec_.both_gb_s - spec_.gb_s[1 - index(direction)]);
  if (!(gb_s > 0)) return std::numeric_limits<double>::infinity();
  return std::max(static_cast<double>(spec_.copy_ps), static_cast<double>(piece_bytes) * 1e3 / gb_s);
}

std::int64_t TierLink::duration(Direction direction, std::int64_t pieces, std::int64_t piece_bytes) const {
  const double ps = static_cast<double>(pieces) * piece_ps(direction, piece_bytes, false);
  if (!(ps < kEndOfTime))
    throw RunError("a transfer over " + spec_.name +
                   " takes longer than 106 days, the end of simulated time");
  return static_cast<std::int64_t>(std::ceil(ps));
}

std::int64_t TierLink::backlog_ps(Direction direction, std::int64_t from) const {
  const std::vector<Stretch>& busy = busy_[index(direction)];
  return busy.empty() ? 0 : std::max<std::int64_t>(0, busy.back().to - from);
}

template <class Take>
TierLink::Transfer TierLink::walk(Direction direction, std::int64_t pieces, std::int64_t piece_bytes,
                                  std::int64_t earliest, Take take) const {
  const std::vector<Stretch>& own = busy_[index(direction)];
  const std::vector<Stretch>& other = busy_[1 - index(direction)];
  const auto after = [](const std::vector<Stretch>& all, std::int64_t t) {
    return std::upper_bound(all.begin(), all.end(), t,
                            [](std::int64_t v, const Stretch& s) { return v < s.to; });
  };
  const double alone_ps = piece_ps(direction, piece_bytes, false);
  const double beside_ps = piece_ps(direction, piece_bytes, true);
  const auto size = static_cast<double>(piece_bytes);
  double left = static_cast<double>(pieces) * size;
  std::int64_t at = earliest;
  auto mine = after(own, at), theirs = after(other, at);
  Transfer result{-1, 0};
  while (left > 0) {
    if (mine != own.end() && mine->from <= at) {
      at = mine->to;
      ++mine;
      while (theirs != other.end() && theirs->to <= at) ++theirs;
      continue;
    }
    const bool beside = theirs != other.end() && theirs->from <= at;
    std::int64_t until = mine != own.end() ? mine->from : kNever;
    if (theirs != other.end()) until = std::min(until, beside ? theirs->to : theirs->from);
    const double each = beside ? beside_ps : alone_ps;
    if (std::isfinite(each)) {
      const double needs = left * each / size;
      if (!(needs < kEndOfTime - static_cast<double>(at)))
        throw RunError("the backlog of " + spec_.name + " runs past 106 days, the end of simulated time");
      // The first piece: as if the pieces went one by one at this pace.
      if (result.first_ps < 0) {
        result.start_ps = at;
        result.first_ps = at + static_cast<std::int64_t>(std::ceil(std::min(each, needs)));
      }
      // What would be left for less than a picosecond is not worth another stretch.
      if (until == kNever || needs <= static_cast<double>(until - at) + 1) {
        const auto whole = std::min(static_cast<std::int64_t>(std::ceil(needs)), until - at);
        take(at, at + whole);
        at += whole;
        break;
      }
      left -= static_cast<double>(until - at) * size / each;
      take(at, until);
    }
    at = until;
    if (beside && theirs->to <= at) ++theirs;
  }
  result.end_ps = at + spec_.latency_ps;
  result.first_ps = std::min(result.first_ps + spec_.latency_ps, result.end_ps);
  return result;
}

TierLink::Transfer TierLink::estimate(Direction direction, std::int64_t pieces, std::int64_t piece_bytes,
                                      std::int64_t earliest) const {
  if (pieces == 0) return {earliest, earliest};
  return walk(direction, pieces, piece_bytes, earliest, [](std::int64_t, std::int64_t) {});
}

TierLink::Transfer TierLink::submit(Direction direction, std::int64_t pieces, std::int64_t piece_bytes,
                                    std::int64_t now, std::int64_t earliest) {
  TESSERA_CHECK(pieces >= 0 && piece_bytes > 0 && earliest >= now, "a transfer moves something from now on");
  for (std::vector<Stretch>& busy : busy_) {
    const auto past = std::find_if(busy.begin(), busy.end(), [now](const Stretch& s) { return s.to > now; });
    busy.erase(busy.begin(), past);
  }
  if (pieces == 0) return {earliest, earliest};
  taken_.clear();
  const Transfer result =
      walk(direction, pieces, piece_bytes, earliest, [this](std::int64_t from, std::int64_t to) {
        if (to > from) taken_.push_back({from, to});
      });
  Use& use = use_[index(direction)];
  ++use.transfers;
  use.bytes += pieces * piece_bytes;
  if (!taken_.empty()) use.queued_ps += taken_.front().from - earliest;
  for (const Stretch& s : taken_) {
    use.busy_ps += s.to - s.from;
    reserved_until_ps_ = std::max(reserved_until_ps_, s.to);
    reserve(busy_[index(direction)], s.from, s.to);
  }
  return result;
}

void TierLink::reserve(std::vector<Stretch>& stretches, std::int64_t from, std::int64_t to) {
  auto next = std::upper_bound(stretches.begin(), stretches.end(), from,
                               [](std::int64_t v, const Stretch& s) { return v < s.from; });
  TESSERA_CHECK(next == stretches.end() || to <= next->from, "a direction carries one transfer at a time");
  if (next != stretches.begin()) {
    auto before = next - 1;
    TESSERA_CHECK(before->to <= from, "a direction carries one transfer at a time");
    if (before->to == from) {
      before->to = to;
      if (next != stretches.end() && next->from == to) {
        before->to = next->to;
        stretches.erase(next);
      }
      return;
    }
  }
  if (next != stretches.end() && next->from == to) {
    next->from = from;
    return;
  }
  stretches.insert(next, {from, to});
}

}  // namespace tessera
