// Turns what `ptxas -v` said into the table of tests/cuda/resources.csv, one row a kernel and architecture.
//   tessera_cuda_resources VERSION REPORT... > resources.csv
// Exits 1 where a kernel of the list was not compiled for an architecture that others were compiled for.
#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <typeinfo>

#include "kernels/cuda/kernel_list.hpp"

namespace {

using namespace tessera::cuda;

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

// "tessera::cuda::InFlightKernel<4>" -> "InFlightKernel<4>", formats by their names.
std::string short_name(std::string name) {
  for (const auto& [from, to] : {std::pair{"tessera::cuda::", ""}, std::pair{"(Float16)0", "bf16"},
                                 std::pair{"(Float16)1", "fp16"}, std::pair{", ", " "}})
    for (std::size_t at = 0; (at = name.find(from, at)) != std::string::npos;)
      name.replace(at, std::string(from).size(), to);
  return name;
}

struct Declared {
  int threads;
  long dynamic_shared;  // -1: the launch's
};

template <std::size_t... kAt>
std::map<std::string, Declared> declared(std::index_sequence<kAt...>) {
  std::map<std::string, Declared> all;
  const auto add = [&]<class K>() {
    long shared = -1;
    if constexpr (requires { K::kSharedBytes; }) shared = static_cast<long>(K::kSharedBytes);
    all[short_name(demangled(typeid(K).name()))] = {K::kThreads, shared};
  };
  (add.template operator()<std::tuple_element_t<kAt, Kernels>>(), ...);
  return all;
}

struct Used {
  int registers = -1, static_shared = 0, stack = 0, spill_stores = 0, spill_loads = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const auto kernels = declared(std::make_index_sequence<kKernelCount>());
  std::map<std::pair<std::string, std::string>, Used> used;
  std::set<std::string> architectures;
  const std::regex entry(R"(Compiling entry function '([^']+)' for '(sm_[0-9a-z]+)')");
  const std::regex spills(R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)");
  const std::regex registers(R"(Used (\d+) registers)"), shared(R"((\d+) bytes smem)");
  const std::regex kernel(R"(entry<(.*)>\()");
  for (int i = 2; i < argc; ++i) {
    std::ifstream in(argv[i]);
    Used* now = nullptr;
    std::smatch m;
    for (std::string line; std::getline(in, line);) {
      if (std::regex_search(line, m, entry)) {
        const std::string architecture = m[2];
        std::string name = demangled(m[1].str().c_str());
        if (std::regex_search(name, m, kernel)) name = m[1];
        while (name.ends_with(' ')) name.pop_back();
        now = &used[{short_name(name), architecture}];
        architectures.insert(architecture);
      } else if (now != nullptr && std::regex_search(line, m, spills)) {
        now->stack = std::stoi(m[1]), now->spill_stores = std::stoi(m[2]), now->spill_loads = std::stoi(m[3]);
      } else if (now != nullptr && std::regex_search(line, m, registers)) {
        now->registers = std::stoi(m[1]);
        if (std::regex_search(line, m, shared)) now->static_shared = std::stoi(m[1]);
      }
    }
  }
  std::cout << "# nvcc " << argv[1] << "; dynamic_shared: bytes every launch asks for, or set by the launch\n"
            << "kernel,architecture,threads,registers,static_shared,dynamic_shared,stack,spill_stores,"
               "spill_loads\n";
  int missing = architectures.empty() ? 1 : 0;
  for (const auto& [name, d] : kernels)
    for (const std::string& architecture : architectures) {
      const auto at = used.find({name, architecture});
      if (at == used.end() || at->second.registers < 0) {
        std::cerr << name << " was not compiled for " << architecture << "\n";
        missing = 1;
        continue;
      }
      const Used& u = at->second;
      std::cout << name << ',' << architecture << ',' << d.threads << ',' << u.registers << ','
                << u.static_shared << ','
                << (d.dynamic_shared < 0 ? std::string("launch") : std::to_string(d.dynamic_shared)) << ','
                << u.stack << ',' << u.spill_stores << ',' << u.spill_loads << "\n";
    }
  return missing;
}
