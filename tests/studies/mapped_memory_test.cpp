// Contiguous KV over mapped memory (vAttention, arXiv 2405.04437) against paging: what page sizes waste, what
// mapping costs and when it is hidden. Llama-3.1-8B on one A100-80G, 300 requests of ShareGPT-like lengths.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/report/summary.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"
#include "traces/generate.hpp"

namespace tessera {
namespace {

using Json = nlohmann::json;
using test::scratch;

Json run(const std::vector<std::string>& keys) {
  const std::string trace = scratch("trace.csv"), path = scratch("run.yaml");
  GenerateSpec spec;
  spec.arrivals.rate = 8;
  spec.lengths.input = "lognormal:mean=173.6,cv=1.2,max=1024";
  spec.lengths.output = "lognormal:mean=556,cv=1.4,max=1024";
  spec.requests = 300;
  spec.stratified = true;
  const std::unique_ptr<TraceReader> requests = generate_trace(spec);
  std::ofstream out(trace);
  out << "request_id,arrival_s,input_tokens,output_tokens\n";
  Request r;
  for (int row = 0; requests->next(r); ++row)
    out << row << ',' << static_cast<double>(r.arrival_ps) * 1e-12 << ',' << r.input_tokens << ','
        << r.output_tokens << '\n';
  out.close();
  std::ofstream(path)
      << "gpu: a100-sxm-80g\nmodel: llama-3.1-8b\nmemory: {kv_blocks: 4096, prefix_cache: off}\n";
  const RunResult result = simulate(load_run_config(path, keys, trace), {});
  EXPECT_EQ(result.metrics.completed, 300);
  return Json::parse(summary_json(result, {}));
}

Json mapped(int page_kib, std::vector<std::string> keys = {}) {
  keys.push_back("memory.allocator=vmm");
  keys.push_back("memory.vmm.page_kib=" + std::to_string(page_kib));
  return run(keys);
}

// 32 layers of K and V: 64 tensors. A request of one token takes 64 x 2 MiB = 128 MiB.
TEST(MappedMemory, TwoMiBPagesTakeThemByTheHundredMiB) {
  const Json out = mapped(2048);
  EXPECT_EQ(out["kv"]["block_tokens"], 1024) << "2 MiB / (8 heads x 128 x 2 bytes)";
  EXPECT_EQ(out["kv"]["capacity_blocks"], 4096 * 16 / 1024);
  EXPECT_EQ(out["kv"]["mapped"]["layout"], "rows of 64 pages of 2048 KiB, 1024.0 tokens a row");
}

TEST(MappedMemory, SmallerPagesWasteLessAndSixtyFourKiBAlmostAsLittleAsPaging) {
  const double paged = run({})["kv"]["useful_fraction"];
  double before = 1;
  for (const int page_kib : {64, 128, 256, 2048}) {
    const Json out = mapped(page_kib);
    const double useful = out["kv"]["useful_fraction"];
    std::printf(
        "[ measured ] pages of %4d KiB: useful %.1f %%, reserved %.1f %%, internal %.1f %%, batched %.1f\n",
        page_kib, 100 * useful, 100 * out["kv"]["reserved_fraction"].get<double>(),
        100 * out["kv"]["internal_waste_fraction"].get<double>(),
        out["kv"]["mean_batched_requests"].get<double>());
    EXPECT_LT(useful, before) << page_kib;
    before = useful;
    const double sum = useful + out["kv"]["reserved_fraction"].get<double>() +
                       out["kv"]["internal_waste_fraction"].get<double>() +
                       out["kv"]["external_waste_fraction"].get<double>();
    EXPECT_NEAR(sum, 1, 1e-9);
  }
  std::printf("[ measured ] paged: useful %.1f %%\n", 100 * paged);
  EXPECT_GT(mapped(64, {"memory.vmm.defer_free=false"})["kv"]["useful_fraction"], paged - 0.06);
}

// An engine that schedules ahead hides what decodes need by itself: here one that does not.
TEST(MappedMemory, MappingAheadAndLateFreeingHideTheCalls) {
  const char* const kOneStep = "engine.profile.async_depth=1";
  const auto stall = [](const Json& out) { return out["kv"]["mapped"]["stall_s"].get<double>(); };
  const Json eager = mapped(64, {"memory.vmm.map_ahead=false", "memory.vmm.defer_free=false", kOneStep});
  const Json ahead = mapped(64, {"memory.vmm.defer_free=false", kOneStep});
  const Json both = mapped(64, {kOneStep});
  std::printf(
      "[ measured ] waits for mapping: on demand %.3f s, ahead %.3f s, with late freeing %.3f s of %.1f s\n",
      stall(eager), stall(ahead), stall(both), both["duration"].get<double>());
  EXPECT_GT(stall(eager), stall(ahead));
  EXPECT_GT(stall(ahead), stall(both));
  EXPECT_LT(both["kv"]["mapped"]["pages"], ahead["kv"]["mapped"]["pages"]);
  EXPECT_GT(eager["mean_tpot_ms"], both["mean_tpot_ms"]);
}

TEST(MappedMemory, OneTensorForAllLayersMapsFewerPages) {
  const Json layers = mapped(2048), whole = mapped(2048, {"memory.vmm.tensors=all-layers"});
  EXPECT_EQ(whole["kv"]["block_tokens"], 32) << "2 MiB / (32 layers x 2 KiB)";
  EXPECT_GT(whole["kv"]["useful_fraction"], layers["kv"]["useful_fraction"]);
}

TEST(MappedMemory, ARequestThatCanNeverFitIsRejectedAndTheRestCompletes) {
  const std::string trace = scratch("trace2.csv"), path = scratch("run2.yaml");
  std::ofstream(trace)
      << "request_id,arrival_s,input_tokens,output_tokens\n0,0,100,10\n1,0,9000,10\n2,0,100,10\n";
  std::ofstream(path) << "gpu: a100-sxm-80g\nmodel: llama-3.1-8b\nmemory: {kv_blocks: 256, allocator: vmm}\n";
  const RunResult result = simulate(load_run_config(path, {}, trace), {});
  EXPECT_EQ(result.metrics.completed, 2);
  ASSERT_EQ(result.metrics.rejected.size(), 1U);
  EXPECT_EQ(result.metrics.rejected.begin()->first, "needs more KV memory than the engine has");
}

TEST(MappedMemory, AMemoryOfLessThanARowSaysSo) {
  EXPECT_THROW(mapped(2048, {"memory.kv_blocks=60"}), InputError);
}

}  // namespace
}  // namespace tessera
