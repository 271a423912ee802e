// What the golden of the compiled kernels promises, checked where no nvcc is: all kernels for all six
// targets, no spills, and no more registers and shared memory than their tile programs say.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/cuda/kernel_list.hpp"
#include "kernels/tiles/attention_launch.hpp"

namespace tessera {
namespace {

struct Row {
  std::string kernel, architecture, dynamic_shared;
  int threads = 0, registers = 0, static_shared = 0, stack = 0, spill_stores = 0, spill_loads = 0;
};

std::vector<Row> golden() {
  std::ifstream in(TESSERA_SOURCE_DIR "/tests/cuda/resources.csv");
  std::vector<Row> rows;
  std::string line;
  std::getline(in, line), std::getline(in, line);  // version, header
  while (std::getline(in, line)) {
    std::vector<std::string> cells;
    std::istringstream cut(line);
    for (std::string cell; std::getline(cut, cell, ',');) cells.push_back(cell);
    if (cells.size() != 9) ADD_FAILURE() << line;
    rows.push_back({cells[0], cells[1], cells[5], std::stoi(cells[2]), std::stoi(cells[3]),
                    std::stoi(cells[4]), std::stoi(cells[6]), std::stoi(cells[7]), std::stoi(cells[8])});
  }
  return rows;
}

TEST(CudaResources, EveryKernelIsCompiledForEveryTarget) {
  std::map<std::string, std::set<std::string>> targets;
  for (const Row& row : golden()) targets[row.kernel].insert(row.architecture);
  EXPECT_EQ(targets.size(), static_cast<std::size_t>(cuda::kKernelCount));
  for (const auto& [kernel, of] : targets)
    EXPECT_EQ(of, (std::set<std::string>{"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"})) << kernel;
}

TEST(CudaResources, NothingSpillsAndEveryCtaFits) {
  for (const Row& row : golden()) {
    EXPECT_EQ(row.spill_stores + row.spill_loads + row.stack, 0) << row.kernel << " " << row.architecture;
    EXPECT_LE(row.registers * row.threads, 65536) << row.kernel << " " << row.architecture;
  }
}

TEST(CudaResources, AttentionUsesWhatItsTileProgramSays) {
  AttentionProblem p;
  p.page_tokens = 64, p.sequences = {{1, 1000}};
  int rows = 0;
  for (const int head_dim : {64, 128}) {
    p.head_dim = p.v_head_dim = head_dim;
    const CtaResources needs = fa2::launch(p, FlashCard{}).forward.resources();
    for (const Row& row : golden()) {
      if (!row.kernel.starts_with("FlashForwardKernel<" + std::to_string(head_dim))) continue;
      ++rows;
      EXPECT_EQ(row.threads, needs.threads);
      EXPECT_LE(row.registers, needs.registers_per_thread);
      EXPECT_EQ(row.dynamic_shared, std::to_string(needs.smem_bytes));
      EXPECT_EQ(row.static_shared, 0);
    }
  }
  EXPECT_EQ(rows, 2 * 2 * 6);
}

}  // namespace
}  // namespace tessera
