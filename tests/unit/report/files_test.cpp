// Files are whole or not there: written beside, then renamed.
#include "sim/report/files.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "models/base/error.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Files, AreReplacedWhole) {
  const std::string path = test::scratch("out.txt");
  write_file(path, "first, longer than the second");
  write_file(path, std::string_view("a\0b", 3));
  EXPECT_EQ(read(path), std::string("a\0b", 3));
  EXPECT_FALSE(test::there(path + ".part"));
}

TEST(Files, WhereAFolderIsInTheWayTheErrorNamesTheFile) {
  const std::string path = test::scratch("folder");
  std::filesystem::create_directories(path + "/inside");
  try {
    write_file(path, "x");
    FAIL() << "a folder was overwritten";
  } catch (const RunError& e) {
    EXPECT_EQ(std::string(e.what()).find(path), 0U) << e.what();
  }
  EXPECT_TRUE(test::there(path + "/inside"));
}

TEST(Files, FoldersAreMadeWithTheirParents) {
  const std::string path = test::scratch("a/b/c");
  make_directory(path);
  make_directory(path);  // again is no error
  EXPECT_TRUE(std::filesystem::is_directory(path));
  write_file(path + "/file", "x");
  EXPECT_THROW(make_directory(path + "/file"), RunError);
}

TEST(Files, ThatCannotBeWrittenAreKnownBeforeLongWork) {
  const std::string path = test::scratch("record.csv");
  check_writable(path);
  EXPECT_FALSE(test::there(path)) << "looking leaves nothing behind";
  write_file(path, "one");
  check_writable(path);
  EXPECT_EQ(read(path), "one") << "nor does it touch what is there";
  EXPECT_FALSE(test::there(path + ".part"));
  EXPECT_THROW(check_writable("/nowhere/at/all/x.csv"), InputError);
  EXPECT_THROW(check_writable(std::filesystem::path(path).parent_path().string()), InputError);
}

TEST(Files, GzipIsTheSameBytesEveryTime) {
  const std::string text(100'000, 'x');
  EXPECT_EQ(gzip(text), gzip(text));
  EXPECT_LT(gzip(text).size(), 1000U);
  EXPECT_EQ(gzip("").substr(0, 2), "\x1f\x8b") << "of nothing too";
}

}  // namespace
}  // namespace tessera
