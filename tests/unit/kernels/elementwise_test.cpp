#include "kernels/cost/elementwise.hpp"

#include <gtest/gtest.h>

#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

TEST(Elementwise, SmallKernelsTakeTheGraphGapAndAMicrosecondEach) {
  const Gpu gpu = paper_gpu();  // gap 1 us
  EXPECT_DOUBLE_EQ(elementwise_time(gpu, 5, 0).total, 10);
  EXPECT_DOUBLE_EQ(elementwise_time(gpu, 5, 5 * 100e3).total, 10);  // 100 kB are 0.05 us of L2
  EXPECT_DOUBLE_EQ(elementwise_time(gpu, 0, 0).total, 0);
}

TEST(Elementwise, WhatFitsL2MovesAtHalfItsReadRate) {
  // 10 MB a kernel of the 50 MB that stay: 10 MB / 2,000 GB/s = 5 us and the gap.
  EXPECT_NEAR(elementwise_time(paper_gpu(), 1, 10e6).total, 6, 0.01);
  EXPECT_NEAR(elementwise_time(paper_gpu(), 3, 30e6).total, 18, 0.01);
}

TEST(Elementwise, WhatOutgrowsL2StreamsFromMemory) {
  // 1 GB at 800 GB/s.
  EXPECT_NEAR(elementwise_time(paper_gpu(), 1, 1e9).total, 1 + 1250, 1);
}

TEST(Elementwise, NeverFasterThanTheSameBytesSplitLess) {
  for (const std::string& name : config_names("gpus")) {
    const Gpu gpu = load_gpu(name);
    double previous = 0;
    for (double bytes = 1e3; bytes < 1e10; bytes *= 1.7) {
      const OpTime t = elementwise_time(gpu, 5, bytes);
      EXPECT_GE(t.total, previous) << name << " " << bytes;
      EXPECT_GE(t.total, t.hbm) << name << " " << bytes;
      previous = t.total;
    }
  }
}

TEST(Sampler, AFixedPartAndAPartPerSequence) {
  EXPECT_DOUBLE_EQ(sampler_time(paper_gpu(), 0).total, 0);
  EXPECT_DOUBLE_EQ(sampler_time(paper_gpu(), 1).total, 26.3);
  EXPECT_DOUBLE_EQ(sampler_time(paper_gpu(), 100).total, 56);
}

}  // namespace
}  // namespace tessera
