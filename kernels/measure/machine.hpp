// What the measuring program asks of the machine it runs on. kernels/cuda/cuda_machine.cpp is a GPU; the
// tests have one that emulates the kernels on the host (tests/support/emulated_machine.hpp), so that
// everything above this interface runs where no GPU is.
//
// Work is enqueued in order on one stream. Errors of the device are RunErrors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/kernel_list.hpp"
#include "kernels/cuda/launch.hpp"

namespace tessera::measure {

struct DeviceInfo {
  std::string name;
  std::string driver;        // CUDA version the driver offers, e.g. 13.0
  int major = 0, minor = 0;  // compute capability
  std::int64_t sms = 0;
  std::int64_t l2_bytes = 0, memory_bytes = 0;
  std::int64_t smem_per_cta = 0, smem_per_sm = 0;
  double sm_clock_mhz = 0, memory_clock_mhz = 0;  // highest
};

enum class Where : std::uint8_t { device, pinned_host };

struct Timing {
  int warmup = 3;
  int repeats = 20;
  std::int64_t ops = 1;  // of one repeat, between two events
  bool graph = true;     // captured once and replayed; false: enqueued anew each time
  bool queued = true;    // all is enqueued before the card starts; false: the host's time counts too
};

struct Product {  // C[m,n] = A[m,k] B[n,k]^T, all row-major 16-bit, fp32 sums
  std::int64_t m, n, k;
  cuda::Float16 format;
  const std::uint16_t* a;
  const std::uint16_t* b;
  std::uint16_t* c;
};

class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  virtual ~Machine() = default;

  [[nodiscard]] virtual DeviceInfo info() = 0;
  virtual double clock_mhz() = 0;  // of the SMs, measured now

  virtual void* allocate(std::int64_t bytes, Where where) = 0;
  virtual void release(void* memory, Where where) noexcept = 0;
  virtual void copy(void* to, const void* from, std::int64_t bytes) = 0;  // any direction
  virtual void fill(void* to, int byte, std::int64_t bytes) = 0;
  virtual void finish() = 0;  // waits for all that is enqueued

  template <class Kernel>
  void launch(const cuda::Grid& grid, const typename Kernel::Arguments& arguments) {
    static_assert(std::is_trivially_copyable_v<typename Kernel::Arguments>);
    launch(cuda::kernel_number<Kernel>(), grid, &arguments);
  }
  virtual void launch(int kernel, const cuda::Grid& grid, const void* arguments) = 0;

  // Whether kernels still run, asked after an error: after some, nothing does until the process ends, and on
  // a card this program was not compiled for nothing ever did. `why` says what is wrong.
  bool runs_kernels(std::string& why);

  // Name of the library and algorithm, or why it cannot: "" and `why`.
  virtual std::string gemm_library(std::string& why) = 0;
  virtual void multiply(const Product& product) = 0;

  // Milliseconds per op of each repeat. `enqueue(i)` enqueues op i of a repeat.
  virtual std::vector<double> time_ms(const Timing& timing,
                                      const std::function<void(std::int64_t)>& enqueue) = 0;
};

// The GPU of this process. Throws RunError where there is none, or where this build has no CUDA.
std::unique_ptr<Machine> open_machine();

// Device or pinned memory that is given back.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Machine& machine, std::int64_t count, Where where = Where::device)
      : machine_(&machine),
        where_(where),
        count_(count),
        data_(static_cast<T*>(machine.allocate(std::max<std::int64_t>(16, bytes()), where))) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(machine_, other.machine_), std::swap(where_, other.where_);
    std::swap(count_, other.count_), std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) machine_->release(data_, where_);
  }

  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::int64_t bytes() const { return count_ * static_cast<std::int64_t>(sizeof(T)); }

  void poison() { machine_->fill(data_, 0xff, bytes()); }  // NaN in every floating-point format
  [[nodiscard]] std::vector<T> read(std::int64_t first, std::int64_t count) const {
    std::vector<T> values(static_cast<std::size_t>(count));
    machine_->copy(values.data(), data_ + first, count * static_cast<std::int64_t>(sizeof(T)));
    machine_->finish();
    return values;
  }

 private:
  Machine* machine_ = nullptr;
  Where where_ = Where::device;
  std::int64_t count_ = 0;
  T* data_ = nullptr;
};

template <class T>
Buffer<T> uploaded(Machine& machine, std::span<const T> values) {
  Buffer<T> buffer(machine, static_cast<std::int64_t>(values.size()));
  if (!values.empty()) machine.copy(buffer.get(), values.data(), buffer.bytes());
  machine.finish();
  return buffer;
}

// Lists of tile programs on the device: the `place` of AttentionProblem::placed.
class Placed {
 public:
  explicit Placed(Machine& machine) : machine_(&machine) {}
  template <class T>
  std::span<const T> operator()(const std::vector<T>& list) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto bytes = std::as_bytes(std::span(list));
    buffers_.push_back(uploaded(*machine_, bytes));
    return {reinterpret_cast<const T*>(buffers_.back().get()), list.size()};
  }

 private:
  Machine* machine_;
  std::vector<Buffer<std::byte>> buffers_;
};

}  // namespace tessera::measure
