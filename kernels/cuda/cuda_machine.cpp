// The GPU behind kernels/measure/machine.hpp, through the CUDA runtime.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <array>
#include <utility>

#include "kernels/cuda/cublaslt.hpp"
#include "kernels/measure/machine.hpp"
#include "kernels/measure/time_rounds.hpp"
#include "models/base/error.hpp"

namespace tessera::measure {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick is forgotten
  throw RunError(fmt::format("{}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error)));
}

using Launcher = int (*)(const cuda::Grid&, const void*, void*);
template <std::size_t... kAt>
constexpr std::array<Launcher, sizeof...(kAt)> launchers(std::index_sequence<kAt...>) {
  return {&cuda::launch_kernel<std::tuple_element_t<kAt, cuda::Kernels>>...};
}
constexpr auto kLaunchers = launchers(std::make_index_sequence<cuda::kKernelCount>());

struct GraphEnd {
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using ReadyGraph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, GraphEnd>;

class CudaMachine final : public Machine {
 public:
  CudaMachine() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
      cudaGetLastError();
      throw RunError(fmt::format("measuring needs a GPU, and none is seen here: {}",
                                 error != cudaSuccess ? cudaGetErrorString(error) : "no device"));
    }
    check(cudaSetDevice(0), "choosing the GPU");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    check(cudaEventCreate(&begin_), "creating an event");
    check(cudaEventCreate(&end_), "creating an event");
    check(cudaGetDeviceProperties(&properties_, 0), "asking the GPU for its properties");
    library_ = cuda::CublasLt::open(library_missing_);
  }
  ~CudaMachine() override {
    library_.reset();
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  DeviceInfo info() override {
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "asking for the driver's version");
    return {.name = properties_.name,
            .driver = fmt::format("{}.{}", driver / 1000, driver % 1000 / 10),
            .major = properties_.major,
            .minor = properties_.minor,
            .sms = properties_.multiProcessorCount,
            .l2_bytes = properties_.l2CacheSize,
            .memory_bytes = static_cast<std::int64_t>(properties_.totalGlobalMem),
            .smem_per_cta = static_cast<std::int64_t>(properties_.sharedMemPerBlockOptin),
            .smem_per_sm = static_cast<std::int64_t>(properties_.sharedMemPerMultiprocessor),
            .sm_clock_mhz = attribute(cudaDevAttrClockRate) / 1e3,
            .memory_clock_mhz = attribute(cudaDevAttrMemoryClockRate) / 1e3};
  }

  // Cycles of an SM against nanoseconds of the card's timer, over a kernel of some milliseconds.
  double clock_mhz() override {
    spin_cycles(2'000'000);
    const std::vector<std::int64_t> ran = clock_.read(0, 2);  // cycles, nanoseconds
    return 1e3 * static_cast<double>(ran[0]) / static_cast<double>(std::max<std::int64_t>(1, ran[1]));
  }

  void* allocate(std::int64_t bytes, Where where) override {
    void* memory = nullptr;
    const auto size = static_cast<std::size_t>(bytes);
    check(where == Where::device ? cudaMalloc(&memory, size) : cudaMallocHost(&memory, size),
          where == Where::device ? "allocating on the GPU" : "pinning host memory");
    return memory;
  }
  void release(void* memory, Where where) noexcept override {
    where == Where::device ? cudaFree(memory) : cudaFreeHost(memory);
  }
  void copy(void* to, const void* from, std::int64_t bytes) override {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream_), "copying");
  }
  void fill(void* to, int byte, std::int64_t bytes) override {
    check(cudaMemsetAsync(to, byte, static_cast<std::size_t>(bytes), stream_), "filling memory");
  }
  void finish() override { check(cudaStreamSynchronize(stream_), "running on the GPU"); }

  void launch(int kernel, const cuda::Grid& grid, const void* arguments) override {
    const auto launcher = kLaunchers[static_cast<std::size_t>(kernel)];
    check(static_cast<cudaError_t>(launcher(grid, arguments, stream_)), "launching a kernel");
  }
  using Machine::launch;

  std::string gemm_library(std::string& why) override {
    why = library_missing_;
    return library_ ? library_->name() : "";
  }
  void multiply(const Product& product) override { library_->multiply(product, stream_); }

  std::vector<double> time_ms(const Timing& timing,
                              const std::function<void(std::int64_t)>& enqueue) override {
    const std::function<void()> all = [&] {
      for (std::int64_t op = 0; op < timing.ops; ++op) enqueue(op);
    };
    all();  // what is set up on first use is set up outside the capture
    finish();
    ReadyGraph ready;
    if (timing.graph) {
      ready = captured(all);
      check(cudaGraphUpload(ready.get(), stream_), "preparing a graph");
    }
    struct Card {
      CudaMachine& machine;
      cudaGraphExec_t graph;
      const std::function<void()>& enqueue;

      void spin(double us) const {
        machine.spin_cycles(static_cast<std::int64_t>(us * machine.attribute(cudaDevAttrClockRate) / 1e3));
      }
      void record_begin() const {
        check(cudaEventRecord(machine.begin_, machine.stream_), "recording an event");
      }
      void record_end() const { check(cudaEventRecord(machine.end_, machine.stream_), "recording an event"); }
      void enqueue_round() const {
        if (graph != nullptr)
          check(cudaGraphLaunch(graph, machine.stream_), "launching a graph");
        else
          enqueue();
      }
      [[nodiscard]] bool begun() const {
        const cudaError_t error = cudaEventQuery(machine.begin_);
        if (error == cudaErrorNotReady) {
          cudaGetLastError();  // no error, but the next launch would report it
          return false;
        }
        check(error, "asking for an event");
        return true;
      }
      [[nodiscard]] double wait_ms() const {
        check(cudaEventSynchronize(machine.end_), "running on the GPU");
        float ms = 0;
        check(cudaEventElapsedTime(&ms, machine.begin_, machine.end_), "reading a time");
        return ms;
      }
    };
    return time_rounds(Card{*this, ready.get(), all}, timing);
  }

 private:
  ReadyGraph captured(const std::function<void()>& enqueue) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
    try {
      enqueue();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream_, &graph), "capturing a graph");
    cudaGraphExec_t ready = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&ready, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "preparing a graph");
    return ReadyGraph(ready);
  }

  void spin_cycles(std::int64_t cycles) {
    if (clock_.count() == 0) clock_ = Buffer<std::int64_t>(*this, 2);
    launch<cuda::ClockKernel>({1, cuda::ClockKernel::kThreads, 0}, {clock_.get(), cycles});
  }

  static double attribute(cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0), "asking the GPU for a clock");
    return value;
  }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  cudaDeviceProp properties_{};
  Buffer<std::int64_t> clock_;
  std::unique_ptr<cuda::CublasLt> library_;
  std::string library_missing_;
};

}  // namespace

std::unique_ptr<Machine> open_machine() { return std::make_unique<CudaMachine>(); }

}  // namespace tessera::measure
