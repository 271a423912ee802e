#include "kernels/measure/machine.hpp"

#include "models/base/error.hpp"

namespace tessera::measure {

bool Machine::runs_kernels(std::string& why) {
  try {
    launch<cuda::EmptyKernel>({1, cuda::EmptyKernel::kThreads, 0}, {0});
    finish();
    return true;
  } catch (const RunError& error) {
    why = error.what();
    return false;
  }
}

}  // namespace tessera::measure
