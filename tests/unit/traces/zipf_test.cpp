// Zipf keys against their law, and the file they are written to against the reader.
#include "traces/zipf.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "models/base/error.hpp"
#include "traces/formats.hpp"
#include "traces/key_trace.hpp"

namespace tessera {
namespace {

ZipfSpec spec(std::int64_t requests, std::int64_t objects, double alpha, std::uint64_t seed = 1) {
  ZipfSpec made;
  made.requests = requests;
  made.objects = objects;
  made.alpha = alpha;
  made.seed = seed;
  return made;
}

// Each count lies within five standard deviations of what the law says.
void expect_law(double alpha) {
  constexpr int kDraws = 200'000;
  constexpr std::int64_t kObjects = 50;
  ZipfKeys keys(spec(kDraws, kObjects, alpha));
  std::map<std::uint32_t, int> counts;
  for (int i = 0; i < kDraws; ++i) ++counts[keys.next()];
  double sum = 0;
  for (int k = 1; k <= kObjects; ++k) sum += std::pow(k, -alpha);
  for (std::uint32_t k = 1; k <= kObjects; ++k) {
    const double p = std::pow(k, -alpha) / sum;
    EXPECT_NEAR(counts[k], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)))
        << "key " << k << ", alpha " << alpha;
    counts.erase(k);
  }
  EXPECT_TRUE(counts.empty());
}

TEST(ZipfKeys, FollowTheLaw) {
  for (const double alpha : {0.0, 0.6, 1.0, 1.5, 3.0}) expect_law(alpha);
}

TEST(ZipfKeys, OneObjectIsDrawnEveryTime) {
  ZipfKeys keys(spec(10, 1, 1.0));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(keys.next(), 1u);
}

TEST(ZipfKeys, ASeedNamesOneTrace) {
  ZipfKeys a(spec(10, 1000, 1.0, 5)), b(spec(10, 1000, 1.0, 5)), c(spec(10, 1000, 1.0, 6));
  int differ = 0;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t key = a.next();
    EXPECT_EQ(key, b.next());
    differ += key != c.next() ? 1 : 0;
  }
  EXPECT_GT(differ, 50);
}

TEST(TraceZipf, WritesRecordsThatReadBackWithTheirNextAccess) {
  ZipfSpec small = spec(5'000, 300, 0.9);
  small.size = 4'096;
  std::ostringstream out, log;
  EXPECT_EQ(trace_zipf(small, "-", out, log), 0);
  const std::string bytes = out.str();
  EXPECT_EQ(bytes.size(), 5'000u * 24);
  const Source source{"drawn", bytes};
  EXPECT_STREQ(detect_format(source).name, "oracle");
  ZipfKeys keys(small);
  std::map<std::uint64_t, std::int64_t> promised;
  const auto reader = open_keys(source);
  KeyAccess access;
  std::int64_t i = 0;
  for (; reader->next(access); ++i) {
    EXPECT_EQ(access.key, keys.next());
    EXPECT_EQ(access.size, 4'096u);
    EXPECT_EQ(access.time, i);
    const auto seen = promised.find(access.key);
    if (seen != promised.end()) {
      EXPECT_EQ(seen->second, i) << "key " << access.key;
    }
    promised[access.key] = access.next_access;
  }
  EXPECT_EQ(i, 5'000);
  for (const auto& [key, next] : promised) EXPECT_EQ(next, kNeverAgain) << "key " << key;
}

std::string error_of(const ZipfSpec& bad, const std::string& output = "-") {
  std::ostringstream out, log;
  try {
    trace_zipf(bad, output, out, log);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TraceZipf, RefusesWhatCannotBeDrawn) {
  EXPECT_EQ(error_of(spec(0, 10, 1)), "requests: 0, expected 1 to 1,000,000,000");
  EXPECT_EQ(error_of(spec(10, 0, 1)), "objects: 0, expected 1 to 100,000,000");
  EXPECT_EQ(error_of(spec(10, 10, -1)), "alpha: -1, expected 0 to 10");
  EXPECT_EQ(error_of(spec(10, 10, std::nan(""))), "alpha: nan, expected 0 to 10");
  EXPECT_EQ(error_of(spec(10, 10, 1), ""),
            "output: no file is named, expected one, or - for standard output");
}

}  // namespace
}  // namespace tessera
