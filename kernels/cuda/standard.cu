#include "kernels/cuda/lane.cuh"
#include "kernels/cuda/standard_kernels.hpp"

using tessera::cuda::Float16;
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardScoresKernel<64, Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardScoresKernel<128, Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardMaskKernel<Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardSoftmaxKernel<Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardOutputKernel<64, Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StandardOutputKernel<128, Float16::bf16>);
