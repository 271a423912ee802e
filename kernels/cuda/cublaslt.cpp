#include "kernels/cuda/cublaslt.hpp"

#if __has_include(<cublasLt.h>)

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <map>
#include <tuple>

#include "models/base/error.hpp"

namespace tessera::cuda {
namespace {

constexpr std::size_t kWorkspaceBytes = 32 << 20;  // as PyTorch gives it on Hopper

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw RunError(fmt::format("cuBLASLt: {}: status {}", what, static_cast<int>(status)));
}

// The functions used, by the types of the header.
struct Functions {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) operation_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

class Loaded final : public CublasLt {
 public:
  Loaded(void* library, const Functions& functions) : library_(library), lt_(functions) {
    check(lt_.create(&handle_), "creating a handle");
    if (cudaMalloc(&workspace_, kWorkspaceBytes) != cudaSuccess)
      throw RunError("cuBLASLt: no memory for its workspace");
  }
  ~Loaded() override {
    for (const auto& [shape, plan] : plans_) release(plan);
    cudaFree(workspace_);
    lt_.destroy(handle_);
    dlclose(library_);
  }
  [[nodiscard]] std::string name() const override { return fmt::format("cublaslt_{}", lt_.version()); }

  // Column-major, as the library thinks: C^T[n, m] = B A^T with B stored k x n (transposed) and A k x m.
  void multiply(const measure::Product& p, void* stream) override {
    const Plan& plan = plan_of(p);
    const float one = 1, zero = 0;
    check(lt_.matmul(handle_, plan.operation, &one, p.b, plan.b, p.a, plan.a, &zero, p.c, plan.c, p.c, plan.c,
                     &plan.algorithm, workspace_, kWorkspaceBytes, static_cast<cudaStream_t>(stream)),
          "multiplying");
  }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t, Float16>;

  const Plan& plan_of(const measure::Product& p) {
    const Shape shape{p.m, p.n, p.k, p.format};
    if (const auto at = plans_.find(shape); at != plans_.end()) return at->second;
    // Kept only once it is whole: a half-built one would be taken for a plan the next time.
    Plan plan;
    try {
      describe(plan, p);
      choose(plan, p);
      return plans_.emplace(shape, plan).first->second;
    } catch (...) {
      release(plan);
      throw;
    }
  }
  void describe(Plan& plan, const measure::Product& p) const {
    const cudaDataType_t type = p.format == Float16::bf16 ? CUDA_R_16BF : CUDA_R_16F;
    const auto m = static_cast<std::uint64_t>(p.m), n = static_cast<std::uint64_t>(p.n);
    const auto k = static_cast<std::uint64_t>(p.k);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(lt_.operation_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    check(lt_.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
          "describing a product");
    check(lt_.layout_create(&plan.b, type, k, n, p.k), "describing W");
    check(lt_.layout_create(&plan.a, type, k, m, p.k), "describing x");
    check(lt_.layout_create(&plan.c, type, n, m, p.n), "describing y");
  }
  void choose(Plan& plan, const measure::Product& p) const {
    cublasLtMatmulPreference_t preference = nullptr;
    check(lt_.preference_create(&preference), "asking for an algorithm");
    cublasStatus_t status = lt_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &kWorkspaceBytes, sizeof kWorkspaceBytes);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    if (status == CUBLAS_STATUS_SUCCESS)
      status = lt_.heuristic(handle_, plan.operation, plan.b, plan.a, plan.c, plan.c, preference, 1, &found,
                             &count);
    lt_.preference_destroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0)
      throw RunError(fmt::format("cuBLASLt has no algorithm for m {} n {} k {}", p.m, p.n, p.k));
    plan.algorithm = found.algo;
  }
  void release(const Plan& plan) const {
    for (const cublasLtMatrixLayout_t layout : {plan.a, plan.b, plan.c})
      if (layout != nullptr) lt_.layout_destroy(layout);
    if (plan.operation != nullptr) lt_.operation_destroy(plan.operation);
  }

  void* library_;
  Functions lt_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace

std::unique_ptr<CublasLt> CublasLt::open(std::string& why) {
  // The major version of the header this was compiled with, so that its types fit.
  const std::string name = fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR);
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    library = dlopen((TESSERA_CUDA_LIBRARIES "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    why = name + " is not here: no GEMM";
    return nullptr;
  }
  Functions f;
  const bool all = find(library, "cublasLtCreate", f.create) && find(library, "cublasLtDestroy", f.destroy) &&
                   find(library, "cublasLtGetVersion", f.version) &&
                   find(library, "cublasLtMatmul", f.matmul) &&
                   find(library, "cublasLtMatmulDescCreate", f.operation_create) &&
                   find(library, "cublasLtMatmulDescDestroy", f.operation_destroy) &&
                   find(library, "cublasLtMatmulDescSetAttribute", f.operation_set) &&
                   find(library, "cublasLtMatrixLayoutCreate", f.layout_create) &&
                   find(library, "cublasLtMatrixLayoutDestroy", f.layout_destroy) &&
                   find(library, "cublasLtMatmulPreferenceCreate", f.preference_create) &&
                   find(library, "cublasLtMatmulPreferenceDestroy", f.preference_destroy) &&
                   find(library, "cublasLtMatmulPreferenceSetAttribute", f.preference_set) &&
                   find(library, "cublasLtMatmulAlgoGetHeuristic", f.heuristic);
  if (!all) {
    why = name + " lacks a function: no GEMM";
    dlclose(library);
    return nullptr;
  }
  return std::make_unique<Loaded>(library, f);
}

}  // namespace tessera::cuda

#else

namespace tessera::cuda {

std::unique_ptr<CublasLt> CublasLt::open(std::string& why) {
  why = "built without cublasLt.h: no GEMM";
  return nullptr;
}

}  // namespace tessera::cuda

#endif
