#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "models/base/error.hpp"
#include "sim/cli/commands.hpp"

namespace tessera {

int run_sibling(const std::string& name, const std::vector<std::string>& arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / ("tessera-" + name)).string();
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::fflush(stdout);
  execv(program.c_str(), argv.data());
  const char* const hint = name == "measure" ? " (its CUDA kernels are built by ./tessera measure)" : "";
  throw RunError(fmt::format("cannot run {}: {}{}", program, std::strerror(errno), hint));
}

}  // namespace tessera
