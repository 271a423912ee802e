// The rooms include one another in one direction only.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

namespace tessera {
namespace {

// A room may include itself, what is listed, and models/base.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"models", {}},
    {"kernels", {"models"}},
    {"traces", {}},
    {"sim", {"models", "kernels", "traces"}},
    {"validation", {"models", "kernels", "traces", "sim"}},
};

TEST(Arrows, EveryIncludePointsTheAllowedWay) {
  namespace fs = std::filesystem;
  int includes = 0;
  for (const auto& [room, allowed] : kMayInclude)
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TESSERA_SOURCE_DIR) / room)) {
      const std::string extension = entry.path().extension();
      if (!std::set<std::string>{".cpp", ".hpp", ".cu", ".cuh"}.contains(extension)) continue;
      const std::string file = fs::relative(entry.path(), TESSERA_SOURCE_DIR).string();
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) {
        if (line.rfind("#include \"", 0) != 0) continue;
        ++includes;
        const std::string target = line.substr(10, line.find('"', 10) - 10);
        const std::string to = target.substr(0, target.find('/'));
        EXPECT_TRUE(to == room || allowed.contains(to) || target.starts_with("models/base/"))
            << file << " includes " << target;
        for (const char* alone : {"sim/engine/", "models/base/"})  // these two include nothing else of ours
          EXPECT_TRUE(!file.starts_with(alone) || target.starts_with(alone))
              << file << " includes " << target;
      }
    }
  EXPECT_GT(includes, 300);
}

}  // namespace
}  // namespace tessera
