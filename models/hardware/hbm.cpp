#include "models/hardware/hbm.hpp"

#include <cmath>

namespace tessera {
namespace {

bool is_half_clocks(double clocks) { return std::floor(clocks * 2) == clocks * 2; }

void clocks(Fields& f, const char* key, std::int64_t& value, const char* doc) {
  f.field(key, value, {.doc = doc, .unit = "CK", .min = 1, .max = 1e6, .required = true});
}

}  // namespace

void HbmOrganisation::describe(Fields& f) {
  f.field("pseudo_channels", pseudo_channels,
          {.doc = "halves of the channel with banks and data bus of their own",
           .min = 1,
           .max = 2,
           .required = true});
  f.field("stack_ids", stack_ids, {.doc = "ranks on the same data bus", .min = 1, .max = 4});
  f.field("bank_groups", bank_groups,
          {.doc = "bank groups of a pseudo-channel and stack id", .min = 1, .max = 8, .required = true});
  f.field("banks", banks, {.doc = "banks of a bank group", .min = 1, .max = 8, .required = true});
  f.field("rows", rows, {.doc = "rows of a bank", .min = 1, .max = 1 << 20, .required = true});
  f.field("bursts_per_row", bursts_per_row,
          {.doc = "accesses in one row of a pseudo-channel",
           .unit = "",
           .min = 1,
           .max = 1024,
           .required = true});
  f.field("burst_bytes", burst_bytes,
          {.doc = "bytes of one access", .unit = "B", .min = 8, .max = 256, .required = true});
  f.check(banks_per_pseudo_channel() <= 64, "banks",
          "more than 64 banks in a pseudo-channel, expected stack_ids x bank_groups x banks of at most 64");
}

void HbmTiming::describe(Fields& f) {
  clocks(f, "burst", burst, "data bus time of one access");
  clocks(f, "cl", cl, "read to first data");
  clocks(f, "cwl", cwl, "write to first data");
  clocks(f, "rcd_read", rcd_read, "activate to read");
  clocks(f, "rcd_write", rcd_write, "activate to write");
  clocks(f, "rp", rp, "precharge to activate");
  clocks(f, "ras", ras, "activate to precharge");
  clocks(f, "rc", rc, "activate to activate, same bank");
  clocks(f, "wr", wr, "end of write data to precharge");
  clocks(f, "rtp", rtp, "read to precharge");
  clocks(f, "ccd_short", ccd_short, "column to column, other bank group");
  clocks(f, "ccd_long", ccd_long, "column to column, same bank group");
  clocks(f, "ccd_stack", ccd_stack, "column to column, other stack id");
  clocks(f, "rrd_short", rrd_short, "activate to activate, other bank group");
  clocks(f, "rrd_long", rrd_long, "activate to activate, same bank group");
  clocks(f, "faw", faw, "window of four activates");
  clocks(f, "wtr_short", wtr_short, "end of write data to read, other bank group");
  clocks(f, "wtr_long", wtr_long, "end of write data to read, same bank group");
  clocks(f, "rtw", rtw, "read to write");
  clocks(f, "rfc", rfc, "refresh of all banks");
  clocks(f, "refi", refi, "between refreshes");
  f.check(ccd_short >= burst && ccd_long >= ccd_short && ccd_stack >= burst, "ccd_short",
          "column commands overlap on the data bus, expected burst <= ccd_short <= ccd_long");
  f.check(rrd_long >= rrd_short, "rrd_long", "shorter than rrd_short, expected at least as long");
  f.check(cl + burst <= rtw + cwl, "rtw",
          "write data would meet read data on the bus, expected at least cl + burst - cwl");
  f.check(wtr_long >= wtr_short, "wtr_long", "shorter than wtr_short, expected at least as long");
  f.check(rfc + rp + ras + rcd_read + cl < refi, "rfc",
          "refreshes leave no time for a request, expected less than refi");
}

void HbmCommandBus::describe(Fields& f) {
  const auto half_clocks = [&f](const char* key, double& value, const char* doc) {
    f.field(key, value, {.doc = doc, .unit = "CK", .min = 0.5, .max = 8});
    f.check(is_half_clocks(value), key, "not a multiple of half a clock, expected e.g. 1 or 1.5");
  };
  half_clocks("activate", activate, "row bus time of an activate");
  half_clocks("precharge", precharge, "row bus time of a precharge");
  half_clocks("refresh", refresh, "row bus time of a refresh");
  half_clocks("column", column, "column bus time of a read or write");
}

void HbmController::describe(Fields& f) {
  f.field("read_queue", read_queue, {.doc = "reads that wait for their row or bus", .min = 1, .max = 4096});
  f.field("write_queue", write_queue,
          {.doc = "writes that wait for their row or bus", .min = 1, .max = 4096});
  f.field("drain_high", drain_high, {.doc = "writes queued when draining starts", .min = 1, .max = 4096});
  f.field("drain_low", drain_low,
          {.doc = "writes queued when draining ends, if reads wait", .min = 0, .max = 4096});
  f.field("pipeline_ck", pipeline_ck,
          {.doc = "clocks the controller adds to every access", .unit = "CK", .min = 0, .max = 1000});
  f.check(drain_low < drain_high && drain_high <= write_queue, "drain_high",
          "watermarks out of order, expected drain_low < drain_high <= write_queue");
}

void HbmSpec::describe(Fields& f) {
  f.field("name", name, {.doc = "name of this file", .required = true});
  f.field("title", title, {.doc = "the memory", .required = true});
  f.field("source", source, {.doc = "where the numbers are from", .required = true});
  f.field("ck_ps", ck_ps, {.doc = "clock period", .unit = "ps", .min = 100, .max = 10000, .required = true});
  f.group("organisation", organisation, {.doc = "one channel", .required = true});
  f.group("timing", timing, {.doc = "timing constraints", .required = true});
  f.group("command_bus", command_bus, {.doc = "how long commands hold the row and the column bus"});
  f.group("controller", controller, {.doc = "queues and policy"});
}

double HbmSpec::peak_gb_s() const {
  const std::int64_t bytes = organisation.pseudo_channels * organisation.burst_bytes;
  return static_cast<double>(bytes) * 1e3 / static_cast<double>(timing.burst * ck_ps);
}

Time HbmSpec::conflict_latency() const {
  return time_of(2 * (timing.rp + timing.rcd_read + timing.cl + timing.burst + controller.pipeline_ck));
}

HbmSpec load_hbm(const std::string& name_or_path) { return read_config<HbmSpec>("memories", name_or_path); }

}  // namespace tessera
