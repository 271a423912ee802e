#include "sim/memory/hbm/ticks.hpp"

#include <cmath>

namespace tessera {
namespace {

HbmTick half_clocks(double clocks) { return std::llround(clocks * 2); }

}  // namespace

HbmTicks::HbmTicks(const HbmSpec& spec) {
  const HbmOrganisation& o = spec.organisation;
  const HbmTiming& t = spec.timing;
  pseudo_channels = static_cast<std::uint32_t>(o.pseudo_channels);
  stacks = static_cast<std::uint32_t>(o.stack_ids);
  groups_per_stack = static_cast<std::uint32_t>(o.bank_groups);
  banks_per_group = static_cast<std::uint32_t>(o.banks);
  banks = stacks * groups_per_stack * banks_per_group;
  burst = 2 * t.burst;
  cl = 2 * t.cl;
  cwl = 2 * t.cwl;
  pipeline = 2 * spec.controller.pipeline_ck;
  rcd[0] = 2 * t.rcd_read;
  rcd[1] = 2 * t.rcd_write;
  rp = 2 * t.rp;
  ras = 2 * t.ras;
  rc = 2 * t.rc;
  read_to_precharge = 2 * t.rtp;
  write_to_precharge = 2 * (t.cwl + t.burst + t.wr);
  ccd_short = 2 * t.ccd_short;
  ccd_long = 2 * t.ccd_long;
  ccd_stack = 2 * t.ccd_stack;
  write_to_read_short = 2 * (t.cwl + t.burst + t.wtr_short);
  write_to_read_long = 2 * (t.cwl + t.burst + t.wtr_long);
  rrd_short = 2 * t.rrd_short;
  rrd_long = 2 * t.rrd_long;
  faw = 2 * t.faw;
  read_to_write = 2 * t.rtw;
  rfc = 2 * t.rfc;
  refi = 2 * t.refi;
  bus_activate = half_clocks(spec.command_bus.activate);
  bus_precharge = half_clocks(spec.command_bus.precharge);
  bus_refresh = half_clocks(spec.command_bus.refresh);
  bus_column = half_clocks(spec.command_bus.column);
  precharge_grain = bus_precharge % 2 == 0 ? 2 : 1;
}

}  // namespace tessera
