// Every kernel the measuring program launches, numbered. A new one is one line here and one in a .cu file.
#pragma once

#include <tuple>
#include <type_traits>

#include "kernels/cuda/flash_combine.hpp"
#include "kernels/cuda/flash_forward.hpp"
#include "kernels/cuda/memory_kernels.hpp"
#include "kernels/cuda/random_values.hpp"
#include "kernels/cuda/row_kernels.hpp"
#include "kernels/cuda/standard_kernels.hpp"

namespace tessera::cuda {

using Kernels =
    std::tuple<FlashForwardKernel<64, Float16::bf16>, FlashForwardKernel<128, Float16::bf16>,
               FlashForwardKernel<64, Float16::fp16>, FlashForwardKernel<128, Float16::fp16>,
               FlashCombineKernel<64, Float16::bf16>, FlashCombineKernel<128, Float16::bf16>,
               FlashCombineKernel<64, Float16::fp16>, FlashCombineKernel<128, Float16::fp16>,
               StandardScoresKernel<64, Float16::bf16>, StandardScoresKernel<128, Float16::bf16>,
               StandardOutputKernel<64, Float16::bf16>, StandardOutputKernel<128, Float16::bf16>,
               StandardMaskKernel<Float16::bf16>, StandardSoftmaxKernel<Float16::bf16>, KvWriteKernel,
               RowCopyKernel, BlockCopyKernel, FillKernel<Float16::bf16>, FillKernel<Float16::fp16>,
               StreamKernel, FootprintKernel, InFlightKernel<1>, InFlightKernel<2>, InFlightKernel<4>,
               InFlightKernel<8>, GatherKernel, ChaseKernel, SramKernel, ClockKernel, EmptyKernel>;
inline constexpr int kKernelCount = std::tuple_size_v<Kernels>;

template <class K, int kAt = 0>
constexpr int kernel_number() {
  if constexpr (std::is_same_v<K, std::tuple_element_t<kAt, Kernels>>)
    return kAt;
  else
    return kernel_number<K, kAt + 1>();
}

}  // namespace tessera::cuda
