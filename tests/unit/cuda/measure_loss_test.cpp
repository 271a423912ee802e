// Points that cannot be measured: skipped one by one, unless the card is lost with them.
#include <gtest/gtest.h>

#include <new>

#include "tests/unit/cuda/measure_fixture.hpp"

namespace tessera::measure {
namespace {

using MeasureLoss = MeasureRun;

// Runs so many kernels, then none, as after an illegal address or on a card it was not compiled for.
class LostMachine : public test::EmulatedMachine {
 public:
  explicit LostMachine(int kernels) : left_(kernels) {}
  void launch(int kernel, const cuda::Grid& grid, const void* arguments) override {
    if (left_-- <= 0) throw RunError("an illegal memory access was encountered");
    EmulatedMachine::launch(kernel, grid, arguments);
  }

 private:
  int left_;
};

TEST_F(MeasureLoss, ALostCardEndsTheRunAndKeepsWhatWasMeasured) {
  LostMachine machine(1);
  const RunReport report = run_on(machine, kThree);
  EXPECT_EQ(report.measured, 1u);
  EXPECT_EQ(report.skipped, 1u);
  EXPECT_EQ(report.left, 1u) << progress_.str();
  EXPECT_NE(report.lost.find("illegal memory access"), std::string::npos);
  options_.resume = true;
  const RunReport rest = run(kThree);
  EXPECT_EQ(rest.already, 1u);
  EXPECT_EQ(rest.measured, 2u);
  EXPECT_EQ(rest.lost, "");
}

TEST_F(MeasureLoss, ACardWithoutAKernelImageMeasuresNothing) {
  LostMachine machine(0);
  const RunReport report = run_on(machine, kThree);
  EXPECT_NE(report.lost, "");
  EXPECT_TRUE(report.fruitless());
}

TEST_F(MeasureLoss, NothingButSkippedPointsIsNoSuccess) {
  machine_.has_gemm = false;
  const char* const plan = "name: p\ngemm: [{m: [1], n: [8], k: [8, 16]}]\n";
  const RunReport nothing = run(plan);
  EXPECT_EQ(nothing.lost, "") << "the card still runs kernels";
  EXPECT_TRUE(nothing.fruitless());
  machine_.has_gemm = true, options_.resume = true, stop_after_ = 1;
  EXPECT_FALSE(run(plan).fruitless());
  machine_.has_gemm = false, stop_after_ = 1'000'000;
  const RunReport more = run(plan);
  EXPECT_EQ(more.already, 1u);
  EXPECT_FALSE(more.fruitless()) << "one was there already";
}

TEST_F(MeasureLoss, APointThatNeedsMoreThanTheHostHasIsSkipped) {
  class Small : public test::EmulatedMachine {
    void multiply(const Product&) override { throw std::bad_alloc(); }
  } small;
  const RunReport report =
      run_on(small, "name: p\nrepeats: 2\ngemm: [{m: [1], n: [8], k: [8]}]\nsram: [{threads: [32]}]\n");
  EXPECT_EQ(report.skipped, 1u);
  EXPECT_EQ(report.measured, 1u);
  EXPECT_NE(progress_.str().find("than this host has"), std::string::npos) << progress_.str();
}

// A point that took long to be refused says nothing of how long others take.
TEST_F(MeasureLoss, SkippedPointsDoNotSetThePace) {
  class Slow : public test::EmulatedMachine {
   public:
    explicit Slow(double& now) : now_(now) {}
    std::string gemm_library(std::string& why) override {
      now_ += 100, why = "no library here";
      return "";
    }

   private:
    double& now_;
  } slow(now_);
  options_.budget_s = 101;
  const RunReport report =
      run_on(slow, "name: p\nrepeats: 2\ngemm: [{m: [1], n: [8], k: [8]}]\nsram: [{threads: [32]}]\n");
  EXPECT_EQ(report.skipped, 1u);
  EXPECT_EQ(report.measured, 1u) << report.left << " left";
}

}  // namespace
}  // namespace tessera::measure
