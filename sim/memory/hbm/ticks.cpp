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
  groups = static_cast<std::uint32_t>(o.stack_ids * o.bank_groups);
  banks_per_group = static_cast<std::uint32_t>(o.banks);
  banks = groups * banks_per_group;
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
  faw = 2 * t.faw;
  read_to_write = 2 * t.rtw;
  rfc = 2 * t.rfc;
  refi = 2 * t.refi;
  bus_activate = half_clocks(spec.command_bus.activate);
  bus_precharge = half_clocks(spec.command_bus.precharge);
  bus_refresh = half_clocks(spec.command_bus.refresh);
  bus_column = half_clocks(spec.command_bus.column);
  precharge_grain = bus_precharge % 2 == 0 ? 2 : 1;

  const auto stack = [&](std::uint32_t group) { return group / static_cast<std::uint32_t>(o.bank_groups); };
  for (std::uint32_t from = 0; from < groups; ++from)
    for (std::uint32_t to = 0; to < groups; ++to) {
      const bool same_group = from == to;
      const bool same_stack = stack(from) == stack(to);
      ccd_.push_back(2 * (same_group ? t.ccd_long : same_stack ? t.ccd_short : t.ccd_stack));
      wtr_.push_back(2 * (t.cwl + t.burst + (same_group ? t.wtr_long : t.wtr_short)));
      rrd_.push_back(2 * (same_group ? t.rrd_long : t.rrd_short));
    }
}

}  // namespace tessera
