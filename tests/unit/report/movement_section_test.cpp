// What the reports say of KV that moves, from counts small enough to check by hand.
#include "sim/report/movement_section.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// Blocks of 1 MiB, stored at half: 40 of 100 looked-up ones came from a tier of 2 stores of 50, 25 full each.
MovementReport report() {
  MovementReport r;
  r.block_bytes = 1 << 20;
  r.swap_blocks = 64;
  LinkReport link;
  link.name = "host link";
  link.links = 2;
  link.peak_gb_s = 64;
  link.span_s = 10;
  link.read.bytes = 5'000'000'000, link.read.transfers = 7, link.read.queued_s = 0.002, link.read.busy = 0.25;
  link.read.gb_s = 0.5, link.read.percent_of_peak = 0.39, link.read.gb_s_when_busy = 2;
  r.links.push_back(link);
  TierReport tier;
  tier.name = "host", tier.policy = "lru", tier.scope = "engine";
  tier.capacity_blocks = 50, tier.stores = 2, tier.resident_blocks = 50;
  tier.stored_bytes = 1 << 19;
  tier.count.loaded = 40;
  tier.store.inserted = 90, tier.store.evicted = 30;
  r.tiers.push_back(tier);
  MovementCount& c = r.count;
  c.looked_up_blocks = 100, c.found_blocks = 45, c.declined_blocks = 5;
  c.loads = 4, c.loaded_tokens = 640, c.load_ps = 20'000'000'000;  // 5 ms each
  c.stall_ps = 3'000'000'000'000;
  c.swaps_out = 3, c.swaps_in = 2, c.swapped_out_blocks = 12, c.swapped_in_blocks = 8;
  c.peak_swap_blocks = 12, c.swap_full = 1, c.swap_declined = 6;
  return r;
}
Json json_of(const MovementReport& r) {
  Json out;
  put_movement(out, r);
  return out;
}

TEST(MovementSection, RatiosAreOfTheBlocksThatHbmLacked) {
  const Json tier = json_of(report())["tiers"][0];
  EXPECT_EQ(tier["hit_blocks"], 40);
  EXPECT_DOUBLE_EQ(tier["hit_ratio"], 0.4);
  EXPECT_EQ(tier["bytes_in"], 90 * (1 << 19)) << "as stored, compressed";
  EXPECT_EQ(tier["evicted_blocks"], 30);
}

TEST(MovementSection, SwappedBytesAreWholeBlocks) {
  const Json m = json_of(report())["movement"];
  EXPECT_EQ(m["swapped_out_bytes"], 12 << 20);
  EXPECT_EQ(m["swapped_in_bytes"], 8 << 20);
  EXPECT_DOUBLE_EQ(m["mean_load_ms"], 5);
  EXPECT_DOUBLE_EQ(m["stalled_s"], 3);
  EXPECT_EQ(m["recomputed_by_choice_blocks"], 5);
}

TEST(MovementSection, EveryLinkHasBothDirectionsUnderItsName) {
  const Json link = json_of(report())["bytes"]["host link"];
  EXPECT_EQ(link["links"], 2);
  EXPECT_EQ(link["read"]["bytes"], 5'000'000'000);
  EXPECT_DOUBLE_EQ(link["read"]["mean_queue_ms"], 2);
  EXPECT_DOUBLE_EQ(link["read"]["busy_fraction"], 0.25);
  EXPECT_EQ(link["write"]["bytes"], 0);
}

TEST(MovementSection, WithoutTiersThereIsNoListAndNoRatioToDivideByNothing) {
  MovementReport r = report();
  r.tiers.clear();
  EXPECT_FALSE(json_of(r).contains("tiers"));
  r = report();
  r.count = {};
  EXPECT_EQ(json_of(r)["tiers"][0]["hit_ratio"], 0);
  EXPECT_EQ(json_of(r)["movement"]["mean_load_ms"], 0);
}

TEST(MovementSection, ForPeopleSaysTheSameFigures) {
  const std::string text = movement_text(report(), 16);
  for (const char* part :
       {"45 of 100 blocks of 16 tokens that HBM lacked were found", "4 loads took 5.0 ms each",
        "5 blocks computed again by choice", "50 blocks x 2 (lru, engine), 50 % full: 40 hits (40.0 %)",
        "45.00 MiB in", "3 requests out (12.00 MiB), 2 back (8.00 MiB)", "space peak 12 of 64 blocks",
        "1 recomputed for want of space, 6 as faster", "host link: read 0.50 GB/s = 0.4 % of peak",
        "queue 2.00 ms", "steps waited 3.00 s for blocks to come or go"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(MovementSection, WhatDidNotHappenIsNotMentioned) {
  MovementReport r = report();
  r.count.swaps_out = r.count.swap_full = r.count.swap_declined = 0;
  r.count.stall_ps = r.count.declined_blocks = 0;
  const std::string text = movement_text(r, 16);
  for (const char* part : {"Swapping", "steps waited", "by choice", "left out"})
    EXPECT_EQ(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace tessera
