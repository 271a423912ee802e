// The errors the shipped parameters must keep, on shapes no parameter was fitted on. Skipped without the
// tables.
#include <gtest/gtest.h>

#include <filesystem>

#include "models/hardware/gpu.hpp"
#include "validation/validate.hpp"

namespace tessera {
namespace {

struct Budget {
  const char* gpu;
  const char* kernel;
  const char* table;
  const char* where;  // keeps the test fast: a slice of the rows
  double median, p90;
};

void PrintTo(const Budget& b, std::ostream* out) { *out << b.gpu << " " << b.kernel; }

class Accuracy : public ::testing::TestWithParam<Budget> {};

TEST_P(Accuracy, HeldOutShapesStayInBudget) {
  const Budget& b = GetParam();
  const std::string path = std::string(TESSERA_SHARED_DATA) + "/silicon/aic/" + b.table;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs the measurement table " << path;
  ValidateOptions options;
  if (*b.where != '\0') options.where = {parse_where(b.where)};
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::load(path));
  const ValidationReport r = validate(kernel_validator(b.kernel), load_gpu(b.gpu), tables, options);
  ASSERT_GE(r.held_out.rows, 20u);
  EXPECT_GT(r.in_sample.rows, 0u) << "the parameters do not say they were fitted on this table";
  EXPECT_LE(r.held_out.median_ape, b.median);
  EXPECT_LE(r.held_out.p90_ape, b.p90);
}

INSTANTIATE_TEST_SUITE_P(
    Gemm, Accuracy,
    ::testing::Values(
        Budget{"a100-sxm-80g", "gemm", "a100_sxm_vllm-0.14.0_gemm.csv.gz", "gemm_dtype=bfloat16", 7, 20},
        Budget{"h100-sxm", "gemm", "h100_sxm_vllm-0.24.0_gemm.csv.gz", "gemm_dtype=bfloat16", 7, 20},
        Budget{"h200-sxm", "gemm", "h200_sxm_vllm-0.24.0_gemm.csv.gz", "gemm_dtype=bfloat16", 7, 20},
        Budget{"l40s", "gemm", "l40s_vllm-0.24.0_gemm.csv.gz", "gemm_dtype=bfloat16", 9, 25},
        Budget{"rtx-pro-6000", "gemm", "rtx_pro_6000_server_vllm-0.24.0_gemm.csv.gz", "gemm_dtype=bfloat16",
               7, 20}));
INSTANTIATE_TEST_SUITE_P(
    Moe, Accuracy,
    ::testing::Values(
        Budget{"h100-sxm", "moe", "h100_sxm_vllm-0.24.0_moe.csv.gz", "num_tokens=1,8,64,512,4096", 9, 30},
        Budget{"h200-sxm", "moe", "h200_sxm_vllm-0.24.0_moe.csv.gz", "num_tokens=1,8,64,512,4096", 10, 32},
        Budget{"h100-sxm", "moe", "h100_sxm_vllm-0.24.0_moe.csv.gz", "moe_dtype=w4a16_mxfp4", 11, 30},
        Budget{"h200-sxm", "moe", "h200_sxm_vllm-0.24.0_moe.csv.gz", "moe_dtype=w4a16_mxfp4", 11, 30}));
INSTANTIATE_TEST_SUITE_P(
    Nccl, Accuracy,
    ::testing::Values(Budget{"a100-sxm-80g", "nccl", "a100_sxm_nccl-2.27.3.csv.gz", "", 8, 20},
                      Budget{"h100-sxm", "nccl", "h100_sxm_nccl-2.29.2.csv.gz", "", 8, 20},
                      Budget{"h200-sxm", "nccl", "h200_sxm_nccl-2.29.2.csv.gz", "", 8, 20}));
INSTANTIATE_TEST_SUITE_P(
    CustomAllReduce, Accuracy,
    ::testing::Values(Budget{"h100-sxm", "custom_allreduce", "h100_sxm_vllm-0.24.0_custom_allreduce.csv.gz",
                             "backend=vllm_graph", 4, 25},
                      Budget{"h200-sxm", "custom_allreduce", "h200_sxm_vllm-0.24.0_custom_allreduce.csv.gz",
                             "backend=vllm_graph", 4, 25},
                      Budget{"a100-sxm-80g", "custom_allreduce",
                             "a100_sxm_vllm-0.14.0_custom_allreduce.csv.gz", "backend=vllm_graph", 4.5, 15}));

}  // namespace
}  // namespace tessera
