// A measuring run on an emulated card, in a folder of its own, by a clock the test sets.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "kernels/measure/run.hpp"
#include "models/base/yaml.hpp"
#include "tests/support/emulated_machine.hpp"

namespace tessera::measure {

class MeasureRun : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("tessera_measure_") + test->name() + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    options_.out = path("out.csv");
    options_.date = "2026-01-02", options_.commit = "abc";
    options_.seconds = [this] { return now_; };
    options_.interrupted = [this] { return machine_.timings.size() >= stop_after_; };
    machine_.device.memory_bytes = 32 << 20;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  RunReport run(const std::string& plan) { return run_on(machine_, plan); }
  RunReport run_on(Machine& machine, const std::string& plan) {
    progress_.str("");
    return run_plan(machine, parse_plan(plan, "plan.yaml"), options_, progress_);
  }

  std::filesystem::path folder_;
  test::EmulatedMachine machine_;
  RunOptions options_;
  double now_ = 0;
  std::size_t stop_after_ = 1'000'000;
  std::ostringstream progress_;
};

inline const char* const kThree = "name: p\nrepeats: 2\nsram: [{threads: [32, 64, 96]}]\n";

}  // namespace tessera::measure
