// What stands in a table stays: on a full disk, beside a second run, and after a wrong result.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "tests/unit/cuda/measure_fixture.hpp"
#include "validation/measurement.hpp"

namespace tessera::measure {
namespace {

using MeasureTable = MeasureRun;

// No file may grow while it lives: what a full disk does to a write.
class FullDisk {
 public:
  FullDisk() {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, SIG_DFL);
  }

 private:
  rlimit before_{};
};

TEST_F(MeasureTable, AFullDiskLosesNoRow) {
  stop_after_ = 2;
  run(kThree);
  stop_after_ = 1'000'000, options_.resume = true;
  const std::string before = read_file(options_.out);
  {
    const FullDisk full;
    EXPECT_THROW(run(kThree), RunError);
  }
  EXPECT_EQ(read_file(options_.out), before);
  EXPECT_EQ(run(kThree).already, 2u);
  EXPECT_TRUE(read_file(options_.out).starts_with(before));
}

TEST_F(MeasureTable, AFullDiskAndALineCutShortLoseThatLineAlone) {
  run(kThree);
  const std::string whole = read_file(options_.out);
  const std::string two = whole.substr(0, whole.rfind('\n', whole.size() - 2) + 1);
  std::ofstream(options_.out, std::ios::binary) << whole.substr(0, whole.size() - 20);
  options_.resume = true;
  {
    const FullDisk full;
    EXPECT_THROW(run(kThree), RunError);
  }
  EXPECT_EQ(read_file(options_.out), two);
}

TEST_F(MeasureTable, AWrongResultIsMeasuredAgain) {
  class Broken : public test::EmulatedMachine {
    void multiply(const Product& p) override { p.c[0] = 0; }  // the rest stays poison
  } broken;
  const char* const plan = "name: p\nrepeats: 2\ngemm: [{m: [5], n: [16], k: [24]}]\n";
  EXPECT_EQ(run_on(broken, plan).wrong, 1u);
  options_.resume = true;
  const RunReport still = run_on(broken, plan);
  EXPECT_EQ(still.already, 0u);
  EXPECT_EQ(still.wrong, 1u) << "a run that knows of nothing but wrong rows is no success";
  const RunReport repaired = run(plan);
  EXPECT_EQ(repaired.measured, 1u);
  EXPECT_EQ(repaired.wrong, 0u);
  const MeasurementTable table = MeasurementTable::load(options_.out);
  ASSERT_EQ(table.size(), 3u);
  EXPECT_TRUE(table.row(1).flagged());
  EXPECT_FALSE(table.row(2).flagged());
  EXPECT_EQ(run(plan).already, 1u);
}

TEST_F(MeasureTable, TwoRunsDoNotWriteOneTable) {
  run(kThree);
  options_.resume = true;
  const Origin origin{.device = "Emulated Card", .driver = "", .date = "", .commit = ""};
  {
    const ResultTable first(options_.out, bench_of("sram"), true, origin);
    try {
      run(kThree);
      FAIL() << "two runs at once";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("another run"), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(run(kThree).already, 3u);
}

TEST_F(MeasureTable, WhatWasNotCheckedHasNoError) {
  run("name: p\nrepeats: 2\nl2: [{bytes: [16384]}]\nsram: [{threads: [32]}]\nlaunch: [{launches: [3]}]\n"
      "in_flight: [{ctas_per_4_sms: [1], loads: [1]}]\nkv_gather: [{block_bytes: [64], bytes: [4096]}]\n"
      "hbm: [{bytes: [4096]}]\n");
  for (const char* kernel : {"l2", "sram", "launch", "in_flight", "kv_gather"}) {
    const MeasurementTable table = MeasurementTable::load(path("out_" + std::string(kernel) + ".csv"));
    EXPECT_EQ(table.row(0).text("error"), "") << kernel;
    EXPECT_FALSE(table.row(0).flagged()) << kernel;
  }
  const MeasurementTable hbm = MeasurementTable::load(path("out_hbm.csv"));
  for (std::size_t i = 0; i < hbm.size(); ++i)
    EXPECT_EQ(hbm.row(i).text("error"), hbm.row(i).text("operation") == "read" ? "" : "0");
}

}  // namespace
}  // namespace tessera::measure
