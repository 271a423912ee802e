// Runs CUDA kernel bodies (kernels/cuda) on the host, thread by thread.
//
// Every thread of a CTA is a fibre with its own stack. Threads meet at sync(); the 32 of a warp meet at
// shuffles, matrix loads and products, which are then carried out for all of them as the PTX ISA lays their
// registers out (mma.m16n8k16, ldmatrix.x4). Between two meetings they run in an order drawn from `seed`.
// Asynchronous copies land when they are waited for or, where a coin of `seed` says so, at once: both are
// allowed by the hardware, and a kernel that needs one of them is wrong. Shared memory starts as NaN.
// So a missing barrier or wait, a wrong register layout or address shows as a wrong number; threads that
// wait for one another for ever are reported. Left out: time, bank conflicts, caches, memory order between
// CTAs, which run one after another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/lane.hpp"

namespace tessera::host {

float from_half(std::uint16_t bits, cuda::Float16 format);
std::uint16_t to_half(float value, cuda::Float16 format);  // to nearest, ties to even

class EmulatedCta;

class EmulatedLane {
 public:
  EmulatedLane(EmulatedCta& cta, int thread) : cta_(&cta), thread_(thread) {}

  [[nodiscard]] int thread() const { return thread_; }
  [[nodiscard]] int threads() const;
  [[nodiscard]] std::int64_t block() const;
  [[nodiscard]] std::int64_t blocks() const;
  [[nodiscard]] void* shared() const;

  void sync();
  void sync_warp();
  float shuffle_xor(float value, int mask);
  int shuffle(int value, int from);
  template <cuda::Float16 kFormat>
  void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    multiply(kFormat, d, a, b0, b1);
  }
  void load_matrices(std::uint32_t (&to)[4], const void* row);
  void load_matrices_transposed(std::uint32_t (&to)[4], const void* row);

  void copy_async(void* shared, const void* global, bool exists);
  void commit();
  template <int kPending>
  void wait() {
    arrive(kPending);
  }

  template <cuda::Float16 kFormat>
  static std::uint32_t pack(float low, float high) {
    return to_half(low, kFormat) | std::uint32_t{to_half(high, kFormat)} << 16;
  }
  template <cuda::Float16 kFormat>
  static float unpack(std::uint16_t bits) {
    return from_half(bits, kFormat);
  }
  static float as_float(std::uint32_t bits);
  static float exp2(float x);
  static int unknown(int value) { return value; }
  template <class T>
  static T load_through_l1(const T* from) {
    return *from;
  }
  template <class T>
  static T load_past_l1(const T* from) {
    return *from;
  }
  template <class T>
  static T load_shared(const T* from) {
    return *from;
  }
  static int add_one(std::int32_t* counter) { return (*counter)++; }
  std::int64_t nanoseconds() { return clock_after(0); }
  std::int64_t clock_after(std::uint64_t);  // counts calls: there is no time here
  [[nodiscard]] int sm() const;             // block number modulo kSms
  static constexpr int kSms = 4;

 private:
  friend class EmulatedCta;
  enum class Meeting : std::uint8_t { none, cta, warp, shuffle, product, matrices, matrices_transposed };
  struct Copy {
    void* to;
    const void* from;  // null: zeros
  };
  void multiply(cuda::Float16 format, float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                std::uint32_t b1);
  void arrive(int pending);
  void meet(Meeting meeting);
  static void perform(const Copy& copy);

  EmulatedCta* cta_;
  int thread_;
  Meeting waits_at_ = Meeting::none;
  // Operands and results of the meeting.
  cuda::Float16 format_{};
  float value_ = 0, sums_[4] = {};
  int mask_ = 0, source_ = 0;
  std::uint32_t words_[6] = {};
  const void* row_ = nullptr;
  std::vector<std::vector<Copy>> groups_{1};  // of copies on their way; the last is open
};

struct EmulatedLaunch {
  std::int64_t ctas = 1;
  int threads = 32;
  std::int64_t shared_bytes = 0;
  std::uint64_t seed = 0;
  std::int64_t* copied_bytes = nullptr;  // if given, grows by what asynchronous copies read
};

void emulate(const EmulatedLaunch& launch, const std::function<void(EmulatedLane&)>& body);

template <class Kernel>
void emulate_kernel(const EmulatedLaunch& launch, const typename Kernel::Arguments& arguments) {
  emulate(launch, [&](EmulatedLane& lane) { Kernel::run(lane, arguments); });
}

}  // namespace tessera::host
