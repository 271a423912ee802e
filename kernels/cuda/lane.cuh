// A thread of a GPU as kernel bodies see it (kernels/cuda/lane.hpp), in PTX; and the entry point and launch
// of a body. Included by the .cu files only.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/lane.hpp"
#include "kernels/cuda/launch.hpp"

namespace tessera::cuda {

extern __shared__ Chunk dynamic_shared[];

class CudaLane {
 public:
  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ static int threads() { return static_cast<int>(blockDim.x); }
  __device__ static std::int64_t block() { return blockIdx.x; }
  __device__ static std::int64_t blocks() { return gridDim.x; }
  __device__ static void* shared() { return dynamic_shared; }

  __device__ static void sync() { __syncthreads(); }
  __device__ static void sync_warp() { __syncwarp(); }
  __device__ static float shuffle_xor(float value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }

  __device__ static int shuffle(int value, int from) { return __shfl_sync(0xffffffffu, value, from); }

  template <Float16 kFormat>
  __device__ static void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    if constexpr (kFormat == Float16::bf16)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
          "{%0,%1,%2,%3};\n"
          : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
          "{%0,%1,%2,%3};\n"
          : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
  __device__ static void load_matrices(std::uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address(row))
                 : "memory");
  }
  __device__ static void load_matrices_transposed(std::uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address(row))
                 : "memory");
  }

  __device__ static void copy_async(void* shared, const void* global, bool exists) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address(shared)), "l"(global),
                 "r"(exists ? 16 : 0)
                 : "memory");
  }
  __device__ static void commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
  template <int kPending>
  __device__ static void wait() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
  }

  template <Float16 kFormat>
  __device__ static std::uint32_t pack(float low, float high) {
    std::uint32_t both;
    if constexpr (kFormat == Float16::bf16)
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(both) : "f"(high), "f"(low));
    else
      asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(both) : "f"(high), "f"(low));
    return both;
  }
  template <Float16 kFormat>
  __device__ static float unpack(std::uint16_t bits) {
    if constexpr (kFormat == Float16::bf16) return __uint_as_float(std::uint32_t{bits} << 16);
    float value;
    asm("cvt.f32.f16 %0, %1;\n" : "=f"(value) : "h"(bits));
    return value;
  }
  __device__ static float as_float(std::uint32_t bits) { return __uint_as_float(bits); }
  __device__ static float exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
  }

  __device__ static Chunk load_past_l1(const Chunk* from) {
    Chunk c;
    asm volatile("ld.global.cg.v4.u32 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(c.word[0]), "=r"(c.word[1]), "=r"(c.word[2]), "=r"(c.word[3])
                 : "l"(from)
                 : "memory");
    return c;
  }
  __device__ static std::uint64_t load_past_l1(const std::uint64_t* from) {
    std::uint64_t value;
    asm volatile("ld.global.cg.u64 %0, [%1];\n" : "=l"(value) : "l"(from) : "memory");
    return value;
  }
  __device__ static std::uint64_t load_through_l1(const std::uint64_t* from) {
    std::uint64_t value;
    asm volatile("ld.global.ca.u64 %0, [%1];\n" : "=l"(value) : "l"(from) : "memory");
    return value;
  }
  __device__ static Chunk load_shared(const Chunk* from) {
    Chunk c;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(c.word[0]), "=r"(c.word[1]), "=r"(c.word[2]), "=r"(c.word[3])
                 : "r"(address(from))
                 : "memory");
    return c;
  }

  // The same value, of which the compiler knows nothing.
  __device__ static int unknown(int value) {
    asm volatile("" : "+r"(value));
    return value;
  }
  // The SM's clock, read once `needed` is known.
  __device__ static std::int64_t clock_after(std::uint64_t needed) {
    std::int64_t cycles;
    asm volatile("{ .reg .u64 t; add.u64 t, %1, 0; mov.u64 %0, %%clock64; }\n"
                 : "=l"(cycles)
                 : "l"(needed)
                 : "memory");
    return cycles;
  }
  __device__ static std::int64_t nanoseconds() {
    std::int64_t time;
    asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(time)::"memory");
    return time;
  }
  __device__ static int sm() {
    int id;
    asm volatile("mov.u32 %0, %%smid;\n" : "=r"(id));
    return id;
  }
  __device__ static int add_one(std::int32_t* counter) { return atomicAdd(counter, 1); }

 private:
  __device__ static std::uint32_t address(const void* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  }
};

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads)
    entry(const __grid_constant__ typename Kernel::Arguments arguments) {
  CudaLane lane;
  Kernel::run(lane, arguments);
}

template <class Kernel>
int launch_kernel(const Grid& grid, const void* arguments, void* stream) {
  constexpr int kPlain = 48 << 10;  // more shared memory must be asked for
  if (grid.shared_bytes > kPlain) {
    const cudaError_t error = cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(grid.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  entry<Kernel><<<static_cast<unsigned>(grid.ctas), static_cast<unsigned>(grid.threads),
                  static_cast<std::size_t>(grid.shared_bytes), static_cast<cudaStream_t>(stream)>>>(
      *static_cast<const typename Kernel::Arguments*>(arguments));
  return cudaGetLastError();
}

}  // namespace tessera::cuda

#define TESSERA_COMPILE_KERNEL(...) \
  template int tessera::cuda::launch_kernel<__VA_ARGS__>(const tessera::cuda::Grid&, const void*, void*)
