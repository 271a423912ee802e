#include "sim/serving/kernel_table_reader.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "models/base/error.hpp"

namespace tessera {
namespace {

const std::string kGemm = "kernel_source,gemm_dtype,m,n,k,latency_ms,flag\n";
const std::string kAttention =
    "kernel_source,batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,attn_dtype,kv_cache_dtype,"
    "past_kv_tokens,latency_ms,window_size_tokens,flag\n";

const std::string kMoe =
    "kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,"
    "distribution,latency_ms,flag\n";
const std::string kNccl = "op_name,kernel_source,nccl_dtype,num_gpus,message_elements,latency_ms,flag\n";
const std::string kAllReduce =
    "kernel_source,allreduce_dtype,num_gpus,message_elements,latency_ms,backend,flag\n";

class KernelTableReader : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    const std::string path =
        testing::TempDir() + "kernel_table_reader_" + std::to_string(::getpid()) + "_" + name;
    std::ofstream(path) << text;
    return path;
  }
  KernelTable read(const std::string& text) { return read_kernel_tables({file("table.csv", text)}, gpu_); }
  std::string error_of(const std::string& text) {
    try {
      (void)read(text);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
  static GemmShape gemm(std::int64_t m, DType dtype = DType::bf16) {
    return {m, 4096, 4096, dtype, KernelTable::kWeightCopies};
  }
  static AttentionShape layer(std::int64_t window = 0, DType kv = DType::bf16) {
    AttentionShape s;
    s.q_heads = 32;
    s.kv_heads = 8;
    s.window = window;
    s.kv_dtype = kv;
    s.block_tokens = KernelTable::kBlockTokens;
    s.replayed = true;
    return s;
  }
  const Gpu gpu_ = load_gpu("a100-sxm-80g");
};

TEST_F(KernelTableReader, ReadsGemms) {
  const KernelTable table =
      read(kGemm + "cublas,bfloat16,16,4096,4096,0.025,\ncutlass,fp8,16,4096,4096,0.0175,\n");
  EXPECT_NEAR(table.gemm(gpu_, gemm(16))->total, 25, 1e-9);
  EXPECT_NEAR(table.gemm(gpu_, gemm(16, DType::fp8))->total, 17.5, 1e-9);
}

TEST_F(KernelTableReader, TellsDecodesFromPrefillsByTheCache) {
  const KernelTable table =
      read(kAttention +
           "fa2,8,1,32,8,128,bfloat16,bfloat16,1023,0.06,0,\n"  // decodes its 1,024th token
           "fa2,2,4096,32,8,128,bfloat16,bfloat16,0,2.5,0,\n"
           "fa2,8,1,32,8,128,bfloat16,bfloat16,0,0.011,0,\n");  // prompts of one token
  DecodeBatch decodes;
  decodes.sequences = 8;
  decodes.kv_tokens = 8 * 1024;
  EXPECT_NEAR(table.decode(gpu_, layer(), decodes)->total, 60, 1e-9);
  EXPECT_NEAR(table.prefill(gpu_, layer(), std::vector<PrefillChunk>(2, {4096, 0}))->total, 2500, 1e-9);
  EXPECT_NEAR(table.prefill(gpu_, layer(), std::vector<PrefillChunk>(8, {1, 0}))->total, 11, 1e-9);
}

TEST_F(KernelTableReader, KeepsWindowsAndCacheFormatsApart) {
  const KernelTable table = read(kAttention +
                                 "fa2,1,2048,32,8,128,bfloat16,bfloat16,0,0.3,0,\n"
                                 "fa2,1,2048,32,8,128,bfloat16,bfloat16,0,0.2,128,\n"
                                 "fi,1,2048,32,8,128,bfloat16,fp8,0,0.4,0,\n");
  const std::vector<PrefillChunk> chunk{{2048, 0}};
  EXPECT_NEAR(table.prefill(gpu_, layer(), chunk)->total, 300, 1e-9);
  EXPECT_NEAR(table.prefill(gpu_, layer(128), chunk)->total, 200, 1e-9);
  EXPECT_NEAR(table.prefill(gpu_, layer(0, DType::fp8), chunk)->total, 400, 1e-9);
  EXPECT_FALSE(table.prefill(gpu_, layer(256), chunk).has_value());
}

TEST_F(KernelTableReader, FindsColumnsInAnyOrderAndNeedsNoFlagOrWindow) {
  EXPECT_NEAR(read("latency_ms,k,n,m,gemm_dtype\n0.025,4096,4096,16,bf16\n").gemm(gpu_, gemm(16))->total, 25,
              1e-9);
  const KernelTable table = read(
      "batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,kv_cache_dtype,past_kv_tokens,latency_"
      "ms\n"
      "1,2048,32,8,128,bfloat16,0,0.3\n");
  EXPECT_NEAR(table.prefill(gpu_, layer(), std::vector<PrefillChunk>{{2048, 0}})->total, 300, 1e-9);
}

TEST_F(KernelTableReader, PassesOverFlaggedRowsAndFormatsWithoutAnOperator) {
  const KernelTable gemms = read(kGemm +
                                 "cublas,bfloat16,16,4096,4096,0.025,\n"
                                 "cublas,bfloat16,32,4096,4096,0.9,slow_outlier\n"
                                 "deepgemm,fp8_block,16,4096,4096,0.055,\n"
                                 "trt,int4_wo,16,4096,4096,0.01,\n");
  EXPECT_EQ(gemms.size(), 1u);
  const KernelTable attention = read(kAttention +
                                     "fa2,8,1,32,8,128,bfloat16,bfloat16,1023,0.06,0,\n"
                                     "fa2,8,1,32,8,128,bfloat16,bfloat16,2047,0.01,0,l2_resident\n"
                                     "fa4,8,1,32,8,512,bfloat16,bfloat16,1023,1.69,0,\n");
  EXPECT_EQ(attention.size(), 1u);
}

TEST_F(KernelTableReader, ReadsExperts) {
  const KernelTable table = read(kMoe +
                                 "triton,bfloat16,64,4096,14336,2,8,1,1,power_law_1.2,2.9,\n"
                                 "triton,bfloat16,64,4096,14336,2,8,1,1,balanced,2.7,\n"
                                 "triton,bfloat16,64,4096,2048,2,8,2,1,balanced,0.5,\n"
                                 "triton,fp8_block,64,4096,14336,2,8,1,1,balanced,0.4,\n"
                                 "marlin,w4a16_mxfp4,64,2880,2880,4,32,1,1,balanced,0.2,\n"
                                 "oaitriton,w4a16_mxfp4,64,2880,2880,4,32,1,1,balanced,0.1,\n");
  EXPECT_EQ(table.size(), 4u);
  MoeShape s;
  s.tokens = 64, s.hidden = 4096, s.expert_width = 14336, s.experts = 8, s.top_k = 2;
  EXPECT_NEAR(table.moe(gpu_, s)->total, 2700, 1e-9);
  s.power_law = 1.2;
  const OpTime skewed = *table.moe(gpu_, s);
  EXPECT_NEAR(skewed.total, 2900, 1e-9);
  // Serving draws experts: at the utilisation of the power law, else of balanced experts.
  MoeShape drawn = s;
  drawn.drawn = true, drawn.power_law = 0;
  EXPECT_NEAR(table.moe(gpu_, drawn)->total, 2900 * moe_time(gpu_, drawn).total / moe_time(gpu_, s).total,
              1e-6);
  drawn.expert_width = 2048, drawn.tp = 2;
  MoeShape even = drawn;
  even.drawn = false;
  EXPECT_NEAR(table.moe(gpu_, drawn)->total, 500 * moe_time(gpu_, drawn).total / moe_time(gpu_, even).total,
              1e-6);
  drawn.tp = 4;
  EXPECT_FALSE(table.moe(gpu_, drawn).has_value());
}

TEST_F(KernelTableReader, ReadsCollectives) {
  const KernelTable nccl = read(kNccl +
                                "all_gather,NCCL,half,4,1048576,0.05,\n"
                                "all_gather,NCCL,int8,4,1048576,0.03,\n");
  EXPECT_NEAR(nccl.collective(gpu_, Collective::all_gather, 4, 2097152, DType::bf16)->total, 50, 1e-9);
  EXPECT_NEAR(nccl.collective(gpu_, Collective::all_gather, 4, 1048576, DType::int8)->total, 30, 1e-9);
  const KernelTable own = read(kAllReduce +
                               "vLLM_custom_graph,bfloat16,4,65536,0.012,vllm_graph,\n"
                               "vLLM_custom_eager,bfloat16,4,65536,0.025,vllm_eager,\n"
                               "TRTLLM,bfloat16,4,65536,0.009,trtllm,\n");
  EXPECT_EQ(own.size(), 2u);
  EXPECT_NEAR(own.all_reduce(gpu_, 4, 131072, true)->total, 12, 1e-9);
  EXPECT_NEAR(own.all_reduce(gpu_, 4, 131072, false)->total, 25, 1e-9);
}

TEST_F(KernelTableReader, JoinsFiles) {
  const std::string gemms = file("gemm.csv", kGemm + "cublas,bfloat16,16,4096,4096,0.025,\n");
  const std::string attention =
      file("attention.csv", kAttention + "fa2,1,2048,32,8,128,bfloat16,bfloat16,0,0.3,0,\n");
  EXPECT_EQ(read_kernel_tables({gemms, attention}, gpu_).size(), 2u);
}

TEST_F(KernelTableReader, KnowsItsTablesByTheirColumns) {
  EXPECT_TRUE(is_kernel_table(file("a.csv", kGemm)));
  EXPECT_TRUE(is_kernel_table(file("b.csv", "# a note\n" + kAttention)));
  EXPECT_FALSE(is_kernel_table(file("c.csv", "layer,tokens,time_us\n")));
  EXPECT_FALSE(is_kernel_table(file("d.csv", "kernel_source,moe_dtype,num_tokens,latency_ms\n")));
  EXPECT_FALSE(is_kernel_table(file("e.csv", "")));
  EXPECT_THROW((void)is_kernel_table("/no/such/table.csv"), InputError);
}

// What the user reads
// ----------------------------------------------------------------------------------------

TEST_F(KernelTableReader, NamesFileLineAndColumnOfABadCell) {
  const auto expect = [&](const std::string& text, const std::string& where, const std::string& what) {
    const std::string error = error_of(text);
    EXPECT_NE(error.find(where), std::string::npos) << error;
    EXPECT_NE(error.find(what), std::string::npos) << error;
  };
  expect(kGemm + "cublas,bfloat16,16,4096,4096,0.025,\ncublas,bfloat16,x,4096,4096,0.025,\n",
         "table.csv:3: m:", "'x'");
  expect(kGemm + "cublas,bfloat16,0,4096,4096,0.025,\n", "table.csv:2: m:", "expected at least 1");
  expect(kGemm + "cublas,bfloat16,16,4096,4096,0,\n", "table.csv:2: latency_ms:", "milliseconds");
  expect(kGemm + "cublas,bfloat16,16,4096,4096,1e200,\n", "table.csv:2: latency_ms:", "milliseconds");
  expect(kAttention + "fa2,1000000000,1,32,8,128,bfloat16,bfloat16,0,0.06,0,\n",
         "table.csv:2: batch_size:", "1000000");
  expect(kGemm + "cublas,bfloat16,16,4096,4096,-1,\n", "table.csv:2: latency_ms:", "'-1'");
  expect(kGemm + "cublas,bfloat16,16,4096,4096,nan,\n", "table.csv:2: latency_ms:", "'nan'");
  expect(kGemm + "cublas,bfloat16,16,4096\n", "table.csv:2", "");
  expect(kAttention + "fa2,8,1,32,5,128,bfloat16,bfloat16,1023,0.06,0,\n",
         "table.csv:2: num_key_value_heads:", "32 query heads");
  expect(kAttention + "fa2,1,512,32,8,128,bfloat16,bfloat16,1024,0.06,0,\n",
         "table.csv:2: past_kv_tokens:", "history");
  expect(kMoe + "triton,bfloat16,64,4096,14336,2,8,1,3,balanced,0.7,\n",
         "table.csv:2: moe_ep_size:", "8 experts");
  expect(kMoe + "triton,bfloat16,64,4096,14336,9,8,1,1,balanced,0.7,\n", "table.csv:2: topk:", "8 experts");
  expect(kMoe + "triton,bfloat16,64,4096,14336,2,8,1,1,zipf,0.7,\n",
         "table.csv:2: distribution:", "power_law_ALPHA");
  expect(kNccl + "gather,NCCL,half,4,1024,0.05,\n", "table.csv:2: op_name:", "all_gather");
  expect(kNccl + "all_gather,NCCL,half,1,1024,0.05,\n", "table.csv:2: num_gpus:", "at least 2");
}

TEST_F(KernelTableReader, SaysWhatAKernelTableLooksLike) {
  const std::string error = error_of("layer,tokens,time_us\nqkv_proj,1,10\n");
  EXPECT_NE(error.find("gemm_dtype,m,n,k,latency_ms"), std::string::npos) << error;
  EXPECT_NE(error.find("past_kv_tokens"), std::string::npos) << error;
  EXPECT_NE(error.find("found layer,tokens,time_us"), std::string::npos) << error;
}

TEST_F(KernelTableReader, RefusesATableOfWhichNothingCanBeUsed) {
  EXPECT_NE(error_of(kGemm).find("no row that can be used"), std::string::npos);
  EXPECT_NE(error_of(kGemm + "deepgemm,fp8_block,16,4096,4096,0.055,\n").find("no row that can be used"),
            std::string::npos);
}

TEST_F(KernelTableReader, ReadsThePublicTables) {
  const std::string stem = TESSERA_SHARED_DATA "/silicon/aic/a100_sxm_vllm-0.14.0_";
  if (!std::filesystem::exists(stem + "gemm.csv.gz"))
    GTEST_SKIP() << "no measured tables in " TESSERA_SHARED_DATA;
  const std::vector<std::string> files{stem + "gemm.csv.gz", stem + "generation_attention.csv.gz",
                                       stem + "context_attention.csv.gz"};
  for (const std::string& f : files) EXPECT_TRUE(is_kernel_table(f));
  const KernelTable table = read_kernel_tables(files, gpu_);
  EXPECT_EQ(table.size(), 9240u + 5427u + 5049u);  // rows without a flag
  // Its first and last GEMM row: a microsecond and milliseconds, read as such.
  EXPECT_NEAR(table.gemm(gpu_, {1, 32, 32, DType::bf16, KernelTable::kWeightCopies})->total, 2.45422, 1e-6);
  for (const char* kind : {"vllm-0.14.0_moe", "vllm-0.14.0_custom_allreduce", "nccl-2.27.3"}) {
    const std::string f = std::string(TESSERA_SHARED_DATA "/silicon/aic/a100_sxm_") + kind + ".csv.gz";
    EXPECT_TRUE(is_kernel_table(f));
    EXPECT_GT(read_kernel_tables({f}, gpu_).size(), 100u) << kind;
  }
}

}  // namespace
}  // namespace tessera
