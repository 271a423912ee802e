#include "kernels/cuda/flash_combine.hpp"
#include "kernels/cuda/flash_forward.hpp"
#include "kernels/cuda/lane.cuh"

using tessera::cuda::Float16;
TESSERA_COMPILE_KERNEL(tessera::cuda::FlashForwardKernel<64, Float16::fp16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::FlashForwardKernel<128, Float16::fp16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::FlashCombineKernel<64, Float16::fp16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::FlashCombineKernel<128, Float16::fp16>);
