// Tables that are wrong: each is refused with its place, or counted as not ours; none moves a fit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "kernels/cost/gemm.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_data.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"
#include "validation/calibrate.hpp"
#include "validation/layer_rows.hpp"
#include "validation/validate.hpp"

namespace tessera {
namespace {

Gpu card() {
  Gpu g = paper_gpu();
  g.kernels->card = g.name;
  return g;
}

MeasurementTable gemm_rows(const std::string& rows, const char* file = "gemm.csv") {
  return MeasurementTable::parse("kernel_source,gemm_dtype,m,n,k,latency_ms,flag\n" + rows, file);
}

// Rows of the card; `scale` is what a wrong unit would do.
std::string whole_rows(double scale, const char* m_tail = "") {
  std::string rows;
  for (const int m : {1, 2, 16, 64, 200, 512, 2048})
    for (const int n : {32, 256, 1024, 4096, 10240})
      for (const int k : {32, 512, 2048, 8192})
        rows += fmt::format("cublas,bfloat16,{}{},{},{},{},\n", m, m_tail, n, k,
                            scale * 1e-3 * gemm_time(card(), {m, n, k, DType::bf16, 6}).total);
  return rows;
}
MeasurementTable whole_table(double scale, const char* file = "gemm.csv", const char* m_tail = "") {
  return gemm_rows(whole_rows(scale, m_tail), file);
}

std::string calibrate_problem(std::vector<MeasurementTable> tables) {
  return test::refusal([&] {
    Gpu gpu = card();
    calibrate(gpu, tables, {"2000-01-01", ""}, Cost::roofline, {.folds = 0});
  });
}
template <class... Tables>
std::vector<MeasurementTable> listed(Tables&&... each) {
  std::vector<MeasurementTable> tables;
  (tables.push_back(std::move(each)), ...);
  return tables;
}

TEST(HostileTables, ShapesThatAreNoneNameTheirCell) {
  for (const char* m : {"0", "-5", "9000000000000000"}) {
    const std::string rows = whole_rows(1) + fmt::format("cublas,bfloat16,{},1024,1024,0.01,\n", m);
    EXPECT_NE(calibrate_problem(listed(gemm_rows(rows))).find("gemm.csv:142:17: m: "), std::string::npos)
        << m;
    EXPECT_NE(test::refusal([&] {
                validate(kernel_validator("gemm"), card(), listed(gemm_rows(rows)), {});
              }).find("m: "),
              std::string::npos)
        << m;
  }
  const auto nccl = [](const char* elements) {
    return MeasurementTable::parse(fmt::format("op_name,kernel_source,nccl_dtype,num_gpus,message_elements,"
                                               "latency_ms,flag\nall_gather,NCCL,half,2,{},0.01,\n",
                                               elements),
                                   "nccl.csv");
  };
  for (const char* elements : {"0", "-256", "9000000000000000"})
    EXPECT_NE(test::refusal([&] {
                validate(kernel_validator("nccl"), load_gpu("h100-sxm"), listed(nccl(elements)), {});
              }).find("message_elements"),
              std::string::npos)
        << elements;
}

TEST(HostileTables, OtherUnitsAreRecognised) {
  EXPECT_EQ(calibrate_problem(listed(whole_table(1))), "");
  for (const double scale : {1e-3, 1e3})
    EXPECT_NE(calibrate_problem(listed(whole_table(scale))).find("expected times in ms of this card"),
              std::string::npos)
        << scale << ": " << calibrate_problem(listed(whole_table(scale)));
}

TEST(HostileTables, ATableNamedTwiceIsRefused) {
  EXPECT_NE(calibrate_problem(listed(whole_table(1, "a.csv"), whole_table(1, "b.csv")))
                .find("expected each table once"),
            std::string::npos);
}

TEST(HostileTables, AnotherSpellingOfANumberIsTheSameShape) {
  const MeasurementTable plain = whole_table(1), spelt = whole_table(1, "gemm.csv", ".0");
  const KernelValidator& gemm = kernel_validator("gemm");
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_EQ(gemm.shape_key(plain.row(i)), gemm.shape_key(spelt.row(i)));
}

TEST(HostileTables, TablesFittedTogetherAreAllInSample) {
  std::string a, b;
  for (const int m : {1, 2, 16, 64, 200, 512, 2048})
    for (const int n : {32, 256, 1024, 4096, 10240})
      for (const int k : {32, 512, 2048, 8192})
        (m > 64 ? a : b) += fmt::format("cublas,bfloat16,{},{},{},{},\n", m, n, k,
                                        1e-3 * gemm_time(card(), {m, n, k, DType::bf16, 6}).total);
  Gpu gpu = card();
  calibrate(gpu, listed(gemm_rows(a, "dir/a_gemm.csv"), gemm_rows(b, "dir/b_gemm.csv")), {"2000-01-01", ""},
            Cost::roofline, {.folds = 0});
  const auto in_sample = [&](const char* file) {
    return validate(kernel_validator("gemm"), gpu, listed(gemm_rows(a, file)), {}).in_sample.rows;
  };
  EXPECT_GT(in_sample("dir/a_gemm.csv"), 0U);
  EXPECT_EQ(in_sample("dir/gemm.csv"), 0U) << "a name that is only a part of a fitted one's";
  EXPECT_EQ(in_sample("dir/other.csv"), 0U);
  EXPECT_GT(validate(kernel_validator("gemm"), gpu, listed(gemm_rows(b, "b_gemm.csv")), {}).in_sample.rows,
            0U);
}

TEST(HostileTables, OtherTypesAndGenerationsAreCountedNotUsed) {
  const auto table = [](const char* kernel, const char* dtype) {
    return MeasurementTable::parse(
        fmt::format("kernel_source,batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,attn_dtype,"
                    "kv_cache_dtype,past_kv_tokens,window_size_tokens,latency_ms,flag\n"
                    "vllm_flash_attn_fa3,1,1,8,8,128,bfloat16,bfloat16,100,0,0.012,\n"
                    "{},1,1,8,8,128,bfloat16,{},100,0,0.012,\n",
                    kernel, dtype),
        "attention.csv");
  };
  const auto unsupported = [&](const char* kernel, const char* dtype) {
    return validate(kernel_validator("generation_attention"), load_gpu("h100-sxm"),
                    listed(table(kernel, dtype)), {})
        .unsupported;
  };
  EXPECT_EQ(unsupported("vllm_flash_attn_fa3", "fp8"), 0U);
  EXPECT_EQ(unsupported("vllm_flash_attn_fa3", "int4"), 1U);
  EXPECT_EQ(unsupported("vllm_flash_attn_fa3", "fp8_e5m2"), 1U);
  EXPECT_EQ(unsupported("tessera_fa2", "bfloat16"), 1U) << "an H100 is described by FlashAttention 3";
}

TEST(HostileTables, LayerProfilesNameTheirOwnLines) {
  const std::string path = test::scratch("layer.csv");
  std::ofstream(path) << "layer,tokens,time_us\nqkv_proj,1,5\nqkv_proj,2,-5\n";
  EXPECT_NE(test::refusal([&] { load_measurements(path); }).find("layer.csv:3:12: time_us: -5"),
            std::string::npos)
      << test::refusal([&] { load_measurements(path); });
}

}  // namespace
}  // namespace tessera
