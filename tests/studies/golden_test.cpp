// Every shipped card's predictions over a fixed grid, against the committed ones, so that accuracy cannot rot
// where the measurements are absent. After a change that is meant to move them (new parameters, a new
// equation) write them again and read the difference:
//   TESSERA_UPDATE_GOLDEN=1 build/tests/tessera_tests --gtest_filter='Golden.*'
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "models/base/spec.hpp"
#include "tests/support/golden_predictions.hpp"

namespace tessera {
namespace {

constexpr double kTolerance = 1e-6;  // relative: nine digits are written
const std::string kFile = TESSERA_SOURCE_DIR "/tests/golden/predictions.csv";

std::vector<GoldenRow> predictions() {
  std::vector<GoldenRow> rows;
  for (const std::string& gpu : config_names("gpus")) {
    GoldenGrid grid(gpu);
    rows.insert(rows.end(), grid.rows.begin(), grid.rows.end());
  }
  return rows;
}

TEST(Golden, PredictionsOfEveryCardAreAsCommitted) {
  const std::vector<GoldenRow> rows = predictions();
  if (std::getenv("TESSERA_UPDATE_GOLDEN") != nullptr) {
    std::ofstream out(kFile);
    out << "gpu,kernel,source,shape,us\n";
    for (const GoldenRow& r : rows) out << r.key() << "," << fmt::format("{:.9g}", r.us) << "\n";
    GTEST_SKIP() << "wrote " << rows.size() << " predictions to " << kFile;
  }
  std::ifstream in(kFile);
  ASSERT_TRUE(in) << kFile;
  std::map<std::string, double> golden;
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    const std::size_t comma = line.rfind(',');
    golden[line.substr(0, comma)] = std::strtod(line.c_str() + comma + 1, nullptr);
  }
  EXPECT_EQ(golden.size(), rows.size())
      << "the grid or the cards changed: write the file again (see its test)";
  std::map<std::string, int> moved;  // by card and kernel: hundreds of lines help nobody
  std::map<std::string, std::string> example;
  for (const GoldenRow& r : rows) {
    const auto was = golden.find(r.key());
    if (was != golden.end() && std::abs(r.us / was->second - 1) <= kTolerance) continue;
    const std::string group = r.gpu + " " + r.kernel + " " + r.source;
    if (moved[group]++ == 0)
      example[group] = fmt::format("{}: {:.9g} us, was {}", r.shape, r.us,
                                   was == golden.end() ? "absent" : fmt::format("{:.9g}", was->second));
  }
  for (const auto& [group, count] : moved)
    ADD_FAILURE() << group << ": " << count << " predictions moved, first " << example[group];
}

TEST(Golden, TheGridSeesEveryKernelOfEverySource) {
  const GoldenGrid grid("h100-sxm");
  std::set<std::string> kinds;
  for (const GoldenRow& r : grid.rows) {
    kinds.insert(r.kernel + " " + r.source);
    EXPECT_GT(r.us, 0) << r.key();
  }
  for (const char* kind :
       {"gemm roofline", "gemm tile", "decode roofline", "decode tile", "prefill roofline", "prefill tile",
        "mixed roofline", "mla roofline", "moe roofline", "all_reduce roofline", "all_gather roofline",
        "all_to_all roofline", "elementwise roofline", "sampler roofline"})
    EXPECT_EQ(kinds.count(kind), 1u) << kind;
  std::set<std::string> keys;
  for (const GoldenRow& r : grid.rows) EXPECT_TRUE(keys.insert(r.key()).second) << r.key();
}

}  // namespace
}  // namespace tessera
