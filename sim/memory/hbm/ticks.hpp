// The timing constraints of an HBM channel in ticks of half a clock, laid out for the scheduler.
//
// Half clocks make every constraint of HBM2 and HBM3 a whole number (an HBM3 activate takes 1.5 CK), so
// the simulation is exact; picoseconds appear only where results leave. A constraint between two commands
// of one pseudo-channel depends on whether they share the bank group or the stack id, so those are tables
// over pairs of groups, where group = stack id x bank groups + bank group.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "models/hardware/hbm.hpp"

namespace tessera {

using HbmTick = std::int64_t;  // half clocks
inline constexpr HbmTick kHbmNever = std::numeric_limits<HbmTick>::max() / 4;

struct HbmTicks {
  explicit HbmTicks(const HbmSpec& spec);

  std::uint32_t pseudo_channels, banks, groups, banks_per_group;  // banks and groups of a pseudo-channel
  HbmTick burst, cl, cwl, pipeline;
  HbmTick rcd[2];  // activate to read, to write
  HbmTick rp, ras, rc, read_to_precharge, write_to_precharge;
  HbmTick faw, read_to_write, rfc, refi;
  HbmTick bus_activate, bus_precharge, bus_refresh, bus_column;
  HbmTick precharge_grain;  // a precharge may start at multiples of this, every other command at whole clocks

  [[nodiscard]] const HbmTick* column_to_column(std::uint32_t from) const { return &ccd_[from * groups]; }
  [[nodiscard]] const HbmTick* write_to_read(std::uint32_t from) const { return &wtr_[from * groups]; }
  [[nodiscard]] const HbmTick* activate_to_activate(std::uint32_t from) const { return &rrd_[from * groups]; }

 private:
  std::vector<HbmTick> ccd_, wtr_, rrd_;  // [from group][to group]
};

}  // namespace tessera
