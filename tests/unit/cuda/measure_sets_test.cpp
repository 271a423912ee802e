// Sets of buffers: enough to pass the L2 twice over, no more memory than was asked about, and the table says
// how many there were.
#include <gtest/gtest.h>

#include "tests/unit/cuda/measure_fixture.hpp"
#include "validation/measurement.hpp"

namespace tessera::measure {
namespace {

class Peak : public test::EmulatedMachine {
 public:
  void* allocate(std::int64_t bytes, Where where) override {
    void* const memory = EmulatedMachine::allocate(bytes, where);
    if (where == Where::device) on_device += bytes;
    peak = std::max(peak, on_device);
    where_[memory] = {where, bytes};
    return memory;
  }
  void release(void* memory, Where where) noexcept override {
    if (where == Where::device) on_device -= where_[memory].second;
    EmulatedMachine::release(memory, where);
  }
  std::int64_t on_device = 0, peak = 0;

 private:
  std::map<void*, std::pair<Where, std::int64_t>> where_;
};

TEST(MeasureSets, TheyPassTheL2TwiceOver) {
  DeviceInfo device;
  device.l2_bytes = 50 << 20, device.memory_bytes = std::int64_t{80} << 30;
  const auto sets = [&](double bytes, std::int64_t asked) {
    return sets_of_buffers(device, {.footprint = bytes}, asked);
  };
  EXPECT_EQ(sets(10 << 20, 0), 11);
  EXPECT_EQ(sets(1e9, 0), 2);
  EXPECT_EQ(sets(65536, 0), 1601);  // small buffers too
  EXPECT_EQ(sets(10 << 20, 6), 6);
  EXPECT_EQ(sets(60e9, 0), 1);
  EXPECT_THROW(sets(100e9, 0), RunError);
  EXPECT_THROW(sets(40e9, 2), RunError);
  EXPECT_THROW(sets(512, 0), RunError) << "rather none than a row that is not what it says";
}

TEST(MeasureSets, WhatAnOpTouchesCountsNotWhatIsAllocated) {
  DeviceInfo device;
  device.l2_bytes = 50 << 20, device.memory_bytes = std::int64_t{80} << 30;
  EXPECT_EQ(sets_of_buffers(device, {.footprint = 100e6, .touched = 10 << 20}, 0), 11);
  EXPECT_EQ(sets_of_buffers(device, {.footprint = 10e9, .touched = 10 << 20}, 0), 6);  // as fit
  EXPECT_EQ(sets_of_buffers(device, {.footprint = 10e9, .shared = 20e9}, 4), 4);
  EXPECT_THROW(sets_of_buffers(device, {.footprint = 10e9, .shared = 20e9}, 5), RunError);
}

using MeasureSetsRun = MeasureRun;

TEST_F(MeasureSetsRun, RowsPastTheL2AreAndSayByHowManySets) {
  machine_.device.l2_bytes = 1 << 18;
  const std::string text =
      "name: p\nwarmup: 1\nrepeats: 2\nhbm: [{bytes: [4096, 65536]}]\n"
      "kv_block_copy: [{block_bytes: [512], blocks: [4]}]\nkv_gather: [{block_bytes: [64], bytes: [4096]}]\n"
      "gemm: [{m: [64], n: [16], k: [256], copies: 0}]\n"
      "generation_attention: [{batch_size: [1], past_kv_tokens: [700], num_heads: 1, num_key_value_heads: 1, "
      "head_dim: 64, window_size_tokens: 64, copies: 0}]\n";
  EXPECT_EQ(run(text).skipped, 0u) << progress_.str();
  std::map<std::string, std::size_t> rows;
  for (const Point& point : points_of(parse_plan(text, "plan.yaml"))) {
    const std::string kernel = point.bench->kernel;
    const MeasurementTable table = MeasurementTable::load(path("out_" + kernel + ".csv"));
    const Row row = table.row(rows[kernel]++);
    EXPECT_EQ(row.integer("copies_asked"), 0) << kernel;
    const Bench::Work work = point.bench->work(point);
    // Of GEMM's traffic the weights alone change from set to set.
    const double touched = kernel == "gemm" ? 2.0 * 16 * 256 : work.bytes;
    EXPECT_GE(static_cast<double>(row.integer("copies") - 1) * touched, 2.0 * (1 << 18)) << kernel;
    EXPECT_GT(machine_.timings.size(), 0u);
  }
  std::int64_t most = 0;
  for (const Timing& timing : machine_.timings) most = std::max(most, timing.ops);
  EXPECT_EQ(most, 129);  // every set has its turn
}

TEST_F(MeasureSetsRun, NoBenchAllocatesMoreThanItChecked) {
  for (const char* const grid :
       {"kv_block_copy: [{block_bytes: [65536], blocks: [8]}]\n",
        "host_copy: [{direction: [to_device], bytes: [1048576]}]\n",
        "host_copy: [{direction: [to_host], bytes: [1048576]}]\n",
        "hbm: [{operation: [read], bytes: [1048576]}]\n", "hbm: [{operation: [write], bytes: [1048576]}]\n",
        "hbm: [{operation: [copy], bytes: [1048576]}]\n",
        "kv_gather: [{block_bytes: [4096], bytes: [1048576]}]\n",
        "gemm: [{m: [128], n: [64], k: [512], copies: 2}]\n"}) {
    const std::string text = std::string("name: p\nrepeats: 2\n") + grid;
    Peak machine;
    options_.out = path(std::to_string(std::hash<std::string>{}(text)) + ".csv");
    const RunReport report = run_on(machine, text);
    ASSERT_EQ(report.measured, 1u) << progress_.str();
    EXPECT_EQ(report.wrong, 0u) << progress_.str();
    const Point point = points_of(parse_plan(text, "plan.yaml")).at(0);
    const Bench::Work work = point.bench->work(point);
    const auto sets = static_cast<double>(sets_of_buffers(machine.info(), work, point.copies));
    EXPECT_LE(static_cast<double>(machine.peak), sets * work.footprint + work.shared + 4096) << grid;
    EXPECT_GE(static_cast<double>(machine.peak), sets * work.footprint + work.shared) << grid;
  }
}

// Of a card whose footprint passes what its CTAs read at least, all is read, and all that is read is counted.
TEST_F(MeasureSetsRun, TheL2BenchCountsWhatItReads) {
  machine_.device.sms = 1;
  run("name: p\nrepeats: 2\nl2: [{bytes: [16384, 10485760]}]\n");
  const MeasurementTable table = MeasurementTable::load(options_.out);
  EXPECT_NEAR(table.row(0).number("gb_s"), 8 * 64 * 16384 / (1e6 * machine_.op_ms), 0.01);
  EXPECT_NEAR(table.row(1).number("gb_s"), 10485760 / (1e6 * machine_.op_ms), 0.01);
}

}  // namespace
}  // namespace tessera::measure
