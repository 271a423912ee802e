// The GPU behind kernels/measure/machine.hpp, through the CUDA runtime.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <array>
#include <utility>

#include "kernels/cuda/cublaslt.hpp"
#include "kernels/measure/machine.hpp"
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
    if (clock_.count() == 0) clock_ = Buffer<std::int64_t>(*this, 2);
    launch<cuda::ClockKernel>({1, cuda::ClockKernel::kThreads, 0}, {clock_.get(), 2'000'000});
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
    const auto all = [&] {
      for (std::int64_t op = 0; op < timing.ops; ++op) enqueue(op);
    };
    all();  // what is set up on first use is set up outside the capture
    finish();
    cudaGraphExec_t ready = nullptr;
    if (timing.graph) {
      cudaGraph_t graph = nullptr;
      check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
      try {
        all();
      } catch (...) {
        cudaStreamEndCapture(stream_, &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
        throw;
      }
      check(cudaStreamEndCapture(stream_, &graph), "capturing a graph");
      const cudaError_t error = cudaGraphInstantiate(&ready, graph, 0);
      cudaGraphDestroy(graph);
      check(error, "preparing a graph");
    }
    std::vector<double> times;
    for (int i = 0; i < timing.warmup + timing.repeats; ++i) {
      check(cudaEventRecord(begin_, stream_), "recording an event");
      if (timing.graph)
        check(cudaGraphLaunch(ready, stream_), "launching a graph");
      else
        all();
      check(cudaEventRecord(end_, stream_), "recording an event");
      check(cudaEventSynchronize(end_), "running on the GPU");
      float ms = 0;
      check(cudaEventElapsedTime(&ms, begin_, end_), "reading a time");
      if (i >= timing.warmup) times.push_back(static_cast<double>(ms) / static_cast<double>(timing.ops));
    }
    if (ready != nullptr) cudaGraphExecDestroy(ready);
    return times;
  }

 private:
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
