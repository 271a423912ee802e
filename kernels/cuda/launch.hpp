// Between the .cu files and the host code of the measuring program, which no nvcc compiles.
#pragma once

#include <cstdint>

namespace tessera::cuda {

struct Grid {
  std::int64_t ctas = 1;
  int threads = 128;
  std::int64_t shared_bytes = 0;  // dynamic
};

// Enqueues one kernel; returns the cudaError_t. Defined in lane.cuh, instantiated in the .cu files.
template <class Kernel>
int launch_kernel(const Grid& grid, const void* arguments, void* stream);

}  // namespace tessera::cuda
