#include "kernels/cuda/lane.cuh"
#include "kernels/cuda/memory_kernels.hpp"
#include "kernels/cuda/random_values.hpp"
#include "kernels/cuda/row_kernels.hpp"

using tessera::cuda::Float16;
TESSERA_COMPILE_KERNEL(tessera::cuda::KvWriteKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::RowCopyKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::BlockCopyKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::FillKernel<Float16::bf16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::FillKernel<Float16::fp16>);
TESSERA_COMPILE_KERNEL(tessera::cuda::StreamKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::FootprintKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::InFlightKernel<1>);
TESSERA_COMPILE_KERNEL(tessera::cuda::InFlightKernel<2>);
TESSERA_COMPILE_KERNEL(tessera::cuda::InFlightKernel<4>);
TESSERA_COMPILE_KERNEL(tessera::cuda::InFlightKernel<8>);
TESSERA_COMPILE_KERNEL(tessera::cuda::GatherKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::ChaseKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::SramKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::ClockKernel);
TESSERA_COMPILE_KERNEL(tessera::cuda::EmptyKernel);
