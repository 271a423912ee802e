// A link in time: what it carries, when, and what has to wait.
//
// Each direction carries one transfer at a time; a transfer takes the time its direction is free from
// `earliest` on, in one stretch or in several (its pieces slip in between later reservations). While the
// other direction is busy with something reserved before, the rate is what that leaves of both_gb_s, which
// may be nothing. So at any moment both directions together move at most both_gb_s. A transfer's end is known
// when it is submitted and never changes: reservations are not undone.
//
// Invariants (tested against direct integration): stretches of one direction never overlap, bytes over a
// stretch never beat the rate, ends of what is submitted do not depend on what comes later.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/hardware/tier_device.hpp"

namespace tessera {

enum class Direction : std::uint8_t { read, write };  // toward the GPU, away from it

class TierLink {
 public:
  struct Spec {
    std::string name;
    std::array<double, 2> gb_s{};  // by direction
    double both_gb_s = 0;
    double peak_gb_s = 0;
    std::int64_t latency_ps = 0;
    std::int64_t copy_ps = 0;
  };
  // Of one direction.
  struct Use {
    std::int64_t transfers = 0, bytes = 0;
    std::int64_t busy_ps = 0;    // reserved
    std::int64_t queued_ps = 0;  // from when a transfer could start to when it did, summed
  };
  struct Transfer {
    std::int64_t first_ps = 0;  // its first piece has arrived
    std::int64_t end_ps = 0;    // its last
    std::int64_t start_ps = 0;  // its first piece begins to move
  };

  explicit TierLink(Spec spec) : spec_(std::move(spec)) {}
  // `lanes` equal devices that each move an equal share of every piece.
  TierLink(const TierDevice& device, std::int64_t lanes);

  // `pieces` of `piece_bytes`, none of it before `earliest`. Times of calls must not go back: `now` says
  // what is over for good. Throws RunError where the backlog passes the end of simulated time.
  Transfer submit(Direction direction, std::int64_t pieces, std::int64_t piece_bytes, std::int64_t now,
                  std::int64_t earliest);
  // The same without reserving anything.
  [[nodiscard]] Transfer estimate(Direction direction, std::int64_t pieces, std::int64_t piece_bytes,
                                  std::int64_t earliest) const;
  // Time on an idle link, latency left out.
  [[nodiscard]] std::int64_t duration(Direction direction, std::int64_t pieces,
                                      std::int64_t piece_bytes) const;
  // How long after `from` the direction has reservations.
  [[nodiscard]] std::int64_t backlog_ps(Direction direction, std::int64_t from) const;

  [[nodiscard]] const Spec& spec() const { return spec_; }
  [[nodiscard]] const Use& use(Direction direction) const { return use_[index(direction)]; }
  // When the last reservation of either direction ends.
  [[nodiscard]] std::int64_t reserved_until_ps() const { return reserved_until_ps_; }

 private:
  struct Stretch {
    std::int64_t from, to;
  };
  static constexpr std::size_t index(Direction d) { return static_cast<std::size_t>(d); }
  // Picoseconds of one piece while the other direction is idle, and while it is busy (infinite: none moves).
  [[nodiscard]] double piece_ps(Direction direction, std::int64_t piece_bytes, bool other_busy) const;
  // Walks the free time from `earliest`; calls take(from, to) for every stretch used; returns the end.
  template <class Take>
  Transfer walk(Direction direction, std::int64_t pieces, std::int64_t piece_bytes, std::int64_t earliest,
                Take take) const;
  void reserve(std::vector<Stretch>& stretches, std::int64_t from, std::int64_t to);

  Spec spec_;
  std::array<std::vector<Stretch>, 2> busy_;  // in order of time, apart
  std::array<Use, 2> use_;
  std::int64_t reserved_until_ps_ = 0;
  std::vector<Stretch> taken_;
};

}  // namespace tessera
