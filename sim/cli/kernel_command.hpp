// `tessera kernel NAME`: one kernel, or one memory channel, at the finest grain.
//
// Every kernel adds its own subcommand in a file of its own; kernel_command.cpp lists them. A callback owns
// its options through a shared_ptr, so nothing of a kernel shows here.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tessera {

struct KernelEntry {
  const char* name;
  const char* doc;
  void (*add_options)(CLI::App& kernel, int& code);  // `kernel` is the subcommand of this name
};
const std::vector<KernelEntry>& kernel_entries();

void add_kernel_commands(CLI::App& app, int& code);

// One for each row of the list.
void add_kernel_hbm(CLI::App& kernel, int& code);
void add_kernel_attention_standard(CLI::App& kernel, int& code);
void add_kernel_attention_flash(CLI::App& kernel, int& code);
void add_kernel_attention_decode(CLI::App& kernel, int& code);
void add_kernel_gemm(CLI::App& kernel, int& code);
void add_kernel_copy(CLI::App& kernel, int& code);

}  // namespace tessera
