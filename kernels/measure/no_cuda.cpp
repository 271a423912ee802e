// In place of kernels/cuda/cuda_machine.cpp where there was no nvcc.
#include "kernels/measure/machine.hpp"
#include "models/base/error.hpp"

namespace tessera::measure {

std::unique_ptr<Machine> open_machine() {
  throw RunError(
      "measuring needs a GPU, and this program was built without nvcc; install the CUDA Toolkit, then build "
      "again (tessera measure --dry-run works without)");
}

}  // namespace tessera::measure
