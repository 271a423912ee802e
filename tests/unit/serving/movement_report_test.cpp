// What a run says about its links and tiers: shares of a whole, and bytes that add up.
#include "sim/serving/movement_report.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/report/summary.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Prompts of 100 blocks of 16 tokens, one a second; equal families share all of them.
RunResult play(const std::string& memory, const std::vector<int>& families) {
  std::ofstream trace(test::scratch("trace.csv"));
  trace << "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n";
  for (std::size_t i = 0; i < families.size(); ++i) {
    trace << i << ',' << i << ",1600,2,";
    for (int b = 0; b < 100; ++b) trace << (b > 0 ? " " : "") << 1000 * families[i] + b + 1;
    trace << '\n';
  }
  trace.close();
  const std::string path = test::scratch("run.yaml");
  std::ofstream(path) << "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: {file: trace.csv}\nmemory: " << memory
                      << '\n';
  return simulate(load_run_config(path, {}, ""));
}

void expect_shares(const RunResult& result) {
  for (const LinkReport& link : result.movement->links)
    for (const LinkTraffic& t : {link.read, link.write}) {
      EXPECT_LE(t.busy, 1 + 1e-9) << link.name;
      EXPECT_LE(t.percent_of_peak, 100 * (1 + 1e-9)) << link.name;
      EXPECT_NEAR(t.gb_s * link.span_s * 1e9, static_cast<double>(t.bytes), 1) << link.name;
    }
}

TEST(MovementReport, NoLinkIsBusyForLongerThanItHadNorFasterThanItCanBe) {
  // 209,715,200 bytes are written at 1 GB/s; the answer takes a few hundredths of a second.
  const RunResult result = play(
      "{kv_blocks: 200, host_link: {read_gb_s: 1, write_gb_s: 1, both_gb_s: 2, latency_us: 0, copy_us: 0},"
      " tiers: [{name: host, capacity_gib: 4}]}",
      {1});
  expect_shares(result);
  const LinkReport& host = result.movement->links.front();
  EXPECT_GT(host.span_s, static_cast<double>(result.metrics.last_finish_ps) * 1e-12);
  EXPECT_NEAR(host.write.busy * host.span_s, 0.2097152, 1e-6);
}

TEST(MovementReport, WhatADeviceReadsAheadLeavesItsTier) {
  // Room in host memory for one prompt and a half, so the first has fallen out when it comes again.
  const RunResult result = play(
      "{kv_blocks: 110, tiers: [{name: host, capacity_gib: 0.3},"
      " {name: nvme, capacity_gib: 4, device: nvme-pm9a3}]}",
      {1, 2, 3, 1});
  expect_shares(result);
  const MovementReport& report = *result.movement;
  ASSERT_EQ(report.links.size(), 2u);
  EXPECT_GT(report.tiers[1].count.read_ahead, 0);
  EXPECT_EQ(report.tiers[0].count.prefetched, report.tiers[1].count.read_ahead);
  EXPECT_EQ(report.tiers[1].bytes_out(), report.links[1].read.bytes);
  EXPECT_EQ(report.tiers[1].store.inserted * report.tiers[1].stored_bytes, report.links[1].write.bytes);
  const Json tiers = Json::parse(summary_json(result, {}))["tiers"];
  EXPECT_EQ(tiers[1]["bytes_out"], report.links[1].read.bytes);
  EXPECT_EQ(tiers[1]["bytes_in"], report.links[1].write.bytes);
}

TEST(MovementReport, ATierCalledLikeTheHostLinkHasALineOfItsOwn) {
  const RunResult result = play(
      "{kv_blocks: 200, host_link: pcie5-h100, tiers: [{name: host link, capacity_gib: 4, device: "
      "pcie5-h100}]}",
      {1});
  std::set<std::string> names;
  for (const LinkReport& link : result.movement->links) EXPECT_TRUE(names.insert(link.name).second);
  const Json bytes = Json::parse(summary_json(result, {}))["bytes"];
  EXPECT_TRUE(bytes.contains("host link (pcie5-h100)"));
  EXPECT_TRUE(bytes.contains("host link (pcie5-h100) 2"));
}

}  // namespace
}  // namespace tessera
