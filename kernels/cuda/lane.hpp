// What a kernel body is written against: one thread ("lane") of one CTA.
//
//   struct Kernel {
//     static constexpr int kThreads = 128;           // most of a CTA; CUDA's launch bound
//     struct Arguments { ... };                      // trivially copyable
//     template <class Lane> TESSERA_KERNEL static void run(Lane& lane, const Arguments& a);
//   };
//
// The body is compiled twice from the same text: by nvcc over CudaLane (lane.cuh, PTX), and by the host
// compiler over EmulatedLane (kernels/host/simt.hpp), which runs every thread of a CTA, its warps' matrix
// instructions and its asynchronous copies on a CPU. So what a kernel computes is tested where no GPU is.
//
// A Lane offers: thread(), threads(), block(), blocks(), shared() (dynamic shared memory), sync(),
// sync_warp(), shuffle_xor(float, mask), shuffle(int, lane), mma<F>(d, a, b0, b1) (m16n8k16, fp32 sums),
// load_matrices and load_matrices_transposed (ldmatrix.x4), exp2, copy_async(shared, global, exists) of 16
// bytes (zeros if not exists), commit(), wait<n>() (all but the latest n groups have arrived), pack<F>(low,
// high), load_past_l1, load_through_l1, load_shared, clock_after(value), sm(), add_one(counter) and a few
// conversions.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define TESSERA_KERNEL __device__ __forceinline__
#define TESSERA_PRAGMA(text) _Pragma(#text)
#define TESSERA_UNROLL TESSERA_PRAGMA(unroll)
#define TESSERA_UNROLL_BY(count) TESSERA_PRAGMA(unroll count)
#else
#define TESSERA_KERNEL inline
#define TESSERA_UNROLL
#define TESSERA_UNROLL_BY(count)
#endif

namespace tessera::cuda {

// The element types of the kernels; both are stored as std::uint16_t.
enum class Float16 : std::uint8_t { bf16, fp16 };

// 16 bytes: what one lane copies at a time.
struct alignas(16) Chunk {
  std::uint32_t word[4];
};
inline constexpr int kChunkHalves = 8;

// Where 16-byte chunk `chunk` of row `row` lies in a tile of `kChunks` chunks a row: the low three bits are
// exchanged by the row's, so that the eight rows an ldmatrix reads at once lie in different banks.
template <int kChunks>
constexpr int swizzled(int row, int chunk) {
  static_assert(kChunks % 8 == 0, "rows of whole 128-byte lines");
  return row * kChunks + (chunk ^ (row & 7));
}

// Exponentials are powers of two (lane.exp2), as the hardware has them.
inline constexpr float kLog2E = 1.4426950408889634f;

inline constexpr int kWarp = 32;

}  // namespace tessera::cuda
