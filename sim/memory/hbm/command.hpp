// What goes into a channel and what comes out of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/memory/hbm/ticks.hpp"

namespace tessera {

// One burst. `bank` counts within the pseudo-channel: (stack id x bank groups + bank group) x banks + bank.
struct HbmRequest {
  std::uint32_t row = 0;
  std::uint16_t column = 0;
  std::uint8_t bank = 0;
  std::uint8_t pseudo_channel = 0;
  bool write = false;
};

struct HbmCommand {
  enum class Kind : std::uint8_t { none, activate, precharge, precharge_all, refresh, read, write };
  static constexpr std::size_t kKinds = 7;
  Kind kind = Kind::none;
  bool row_hit = false;  // read, write: found its row open without an activate of its own
  HbmRequest at;
  HbmTick time = 0;
  HbmTick arrival = 0;  // of the request a read or write serves
  HbmTick done = 0;     // read: its last data has arrived; write: its last data is in the row buffer
};

}  // namespace tessera
