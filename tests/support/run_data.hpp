// Helpers for tests that compare with the measured runs outside the repository.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace tessera::test {

inline std::string shared_data(const std::string& file) {
  return std::string(TESSERA_SHARED_DATA) + "/" + file;
}

inline bool there(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

#define TESSERA_NEED_DATA(file)                                    \
  if (!::tessera::test::there(::tessera::test::shared_data(file))) \
  GTEST_SKIP() << "the measured data set is not beside the repository: " << ::tessera::test::shared_data(file)

// A file of this test alone: tests run side by side, each in a process of its own.
inline std::string scratch(const std::string& file) {
  const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / (std::string("tessera_") + test.test_suite_name() + "_" +
                                                     test.name() + "_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return (folder / file).string();
}

// A small CSV of numbers by column name (plain text, no quoting).
inline std::map<std::string, std::vector<double>> read_columns(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  std::vector<std::string> names;
  std::stringstream header(line);
  for (std::string name; std::getline(header, name, ',');) names.push_back(name);
  std::map<std::string, std::vector<double>> columns;
  while (std::getline(in, line)) {
    std::stringstream row(line);
    std::string cell;
    for (const std::string& name : names) {
      std::getline(row, cell, ',');
      char* end = nullptr;
      const double value = std::strtod(cell.c_str(), &end);
      columns[name].push_back(end == cell.c_str() ? std::nan("") : value);
    }
  }
  return columns;
}

inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

}  // namespace tessera::test
