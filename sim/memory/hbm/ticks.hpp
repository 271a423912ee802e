// The timing constraints of an HBM channel in ticks of half a clock, laid out for the scheduler.
//
// Half clocks make every constraint of HBM2 and HBM3 a whole number (an HBM3 activate takes 1.5 CK), so
// the simulation is exact; picoseconds appear only where results leave.
#pragma once

#include <cstdint>
#include <limits>

#include "models/hardware/hbm.hpp"

namespace tessera {

using HbmTick = std::int64_t;  // half clocks
inline constexpr HbmTick kHbmNever = std::numeric_limits<HbmTick>::max() / 4;
inline constexpr std::uint32_t kHbmMaxBanks = 64;  // of a pseudo-channel
inline constexpr std::uint32_t kHbmMaxStacks = 4;

// Grains are one half clock or two.
constexpr HbmTick align_up(HbmTick time, HbmTick grain) { return (time + grain - 1) & -grain; }
constexpr HbmTick whole_clock(HbmTick time) { return align_up(time, 2); }

struct HbmTicks {
  explicit HbmTicks(const HbmSpec& spec);

  std::uint32_t pseudo_channels;
  std::uint32_t stacks, groups_per_stack, banks_per_group, banks;  // of a pseudo-channel
  HbmTick burst, cl, cwl, pipeline;
  HbmTick rcd[2];  // activate to read, to write
  HbmTick rp, ras, rc, read_to_precharge, write_to_precharge;
  HbmTick ccd_short, ccd_long, ccd_stack;
  HbmTick write_to_read_short, write_to_read_long, read_to_write;
  HbmTick rrd_short, rrd_long, faw, rfc, refi;
  HbmTick bus_activate, bus_precharge, bus_refresh, bus_column;
  HbmTick precharge_grain;  // a precharge may start at multiples of this, every other command at whole clocks
};

}  // namespace tessera
