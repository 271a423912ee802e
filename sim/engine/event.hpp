// What waits in the queue: a time, who it is for and what it says. Sixteen bytes of plain data,
// so an event is moved in one register pair and never allocates.
//
// An event is not cancelled. Its receiver keeps a version, puts it in the payload and ignores an
// event whose version is no longer the current one: cheaper than deleting from a queue.
#pragma once

#include <cstdint>
#include <type_traits>

namespace tessera::sim {

using Ticks = std::int64_t;  // picoseconds since the first arrival

struct Event {
  Ticks time = 0;
  std::uint32_t target = 0;   // dense id of the component that handles it
  std::uint32_t payload = 0;  // the component's own: an index, a kind, a version

  friend bool operator==(const Event&, const Event&) = default;
};

static_assert(sizeof(Event) == 16 && std::is_trivially_copyable_v<Event>);

}  // namespace tessera::sim
