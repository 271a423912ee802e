// One channel of high-bandwidth memory: organisation, timing, command bus and controller queues.
//
// A channel is two pseudo-channels with banks and data bus of their own that share one row and one column
// command bus. Timings are in clocks (CK), as the JEDEC standards JESD235 (HBM2) and JESD238 (HBM3) state
// them; commands may take half clocks, so ticks() counts half clocks and is exact.
//
//   peak = pseudo-channels x burst bytes / (data-bus clocks x CK)
//
// Left out: refresh per bank, power-down, ECC and its retries, temperature-dependent refresh.
#pragma once

#include <cstdint>
#include <string>

#include "models/base/spec.hpp"
#include "models/base/units.hpp"

namespace tessera {

struct HbmOrganisation {
  std::int64_t pseudo_channels = 2;
  std::int64_t stack_ids = 1;  // ranks of dies stacked on the same data bus
  std::int64_t bank_groups = 4;
  std::int64_t banks = 4;  // of one bank group
  std::int64_t rows = 0;
  std::int64_t bursts_per_row = 32;  // of one pseudo-channel
  std::int64_t burst_bytes = 32;
  void describe(Fields& f);
  [[nodiscard]] std::int64_t banks_per_pseudo_channel() const { return stack_ids * bank_groups * banks; }
  [[nodiscard]] std::int64_t row_bytes() const { return bursts_per_row * burst_bytes; }
};

struct HbmTiming {
  std::int64_t burst = 2;  // clocks the data bus is busy with one access
  std::int64_t cl = 0, cwl = 0;
  std::int64_t rcd_read = 0, rcd_write = 0;
  std::int64_t rp = 0, ras = 0, rc = 0;
  std::int64_t wr = 0, rtp = 0;
  std::int64_t ccd_short = 0, ccd_long = 0, ccd_stack = 0;  // other / same bank group, other stack id
  std::int64_t rrd_short = 0, rrd_long = 0, faw = 0;
  std::int64_t wtr_short = 0, wtr_long = 0, rtw = 0;
  std::int64_t rfc = 0, refi = 0;
  void describe(Fields& f);
};

struct HbmCommandBus {  // clocks a command holds its bus
  double activate = 1, precharge = 1, refresh = 1, column = 1;
  void describe(Fields& f);
};

struct HbmController {
  std::int64_t read_queue = 64, write_queue = 64;
  std::int64_t drain_high = 48, drain_low = 16;  // writes queued when draining starts and ends
  std::int64_t pipeline_ck = 0;                  // fixed clocks added to every read
  void describe(Fields& f);
};

struct HbmSpec {
  std::string name;
  std::string title;
  std::string source;
  std::int64_t ck_ps = 1000;
  HbmOrganisation organisation;
  HbmTiming timing;
  HbmCommandBus command_bus;
  HbmController controller;
  void describe(Fields& f);

  [[nodiscard]] double peak_gb_s() const;
  [[nodiscard]] Time time_of(std::int64_t half_clocks) const { return Time{half_clocks * ck_ps / 2}; }
  // An idle bank with another row open: precharge, activate, read, burst.
  [[nodiscard]] Time conflict_latency() const;
};

HbmSpec load_hbm(const std::string& name_or_path);  // a name under configs/memories, or a path

}  // namespace tessera
