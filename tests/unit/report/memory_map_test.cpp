// The map of the memory over time.
#include "sim/report/memory_map.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sim/serving/kv_paged.hpp"

namespace tessera {
namespace {

// A pool of eight blocks: request 5 holds two, requests 5 and 6 share one more, one is cached.
struct Scene {
  KvMemorySpec spec;
  std::unique_ptr<PagedKv> kv;
  Scene() {
    spec.kv_blocks = 8;
    spec.block_tokens = 4;
    kv = std::make_unique<PagedKv>(spec);
    const std::vector<std::uint64_t> prompt{100, 101};
    for (KvMemory::Slot slot = 0; slot < 2; ++slot) {
      kv->arrive(slot, slot == 0 ? 10 : 6, 3, prompt);
      const auto found = kv->admit(slot, slot == 0 ? 10 : 6, 64);
      kv->extend(slot, *found, slot == 0 ? 10 : 6, slot == 0 ? 10 : 6);
    }
  }
  MemoryMoment at(std::int64_t ps) const {
    return {0, ps, *kv, [](KvMemory::Slot slot) { return 5 + slot; }};
  }
};

TEST(MemoryMap, SaysWhoHoldsEveryBlock) {
  Scene scene;
  MemoryMap map(MemoryMap::kFewCells);
  map.look(scene.at(0));
  scene.kv->leave(0, 10, false);
  map.look(scene.at(2'000'000'000'000));
  const auto json = nlohmann::json::parse(map.json(4));
  EXPECT_EQ(json["blocks"], 8);
  ASSERT_EQ(json["frames"].size(), 2U);
  const auto& first = json["frames"][0];
  EXPECT_EQ(first["held"], 4);    // three of request 5, one more of request 6
  EXPECT_EQ(first["shared"], 1);  // their common block
  EXPECT_EQ(first["free"], 4);
  EXPECT_EQ(first["runs"],
            nlohmann::json::parse(R"([[1,"held",5,2],[2,"held",5,1],[1,"held",6,1],[4,"free"]])"));
  const auto& second = json["frames"][1];
  EXPECT_EQ(second["t_s"], 2.0);
  EXPECT_EQ(second["held"], 2);
  EXPECT_EQ(second["cached"], 1) << "the second prompt block of request 5 can still be found";
  EXPECT_EQ(second["runs"][0], nlohmann::json::parse(R"([1,"held",6,1])"));
}

TEST(MemoryMap, CountsWhatWasCachedAndIsAnothersNow) {
  Scene scene;
  MemoryMap map(MemoryMap::kFewCells);
  scene.kv->leave(0, 10, false);
  scene.kv->leave(1, 6, false);
  map.look(scene.at(0));
  EXPECT_EQ(nlohmann::json::parse(map.json(4))["frames"][0]["cached"], 2);
  scene.kv->arrive(2, 30, 2, {});
  ASSERT_TRUE(scene.kv->admit(2, 30, 64));
  ASSERT_TRUE(scene.kv->extend(2, 0, 30, 30));
  map.look(scene.at(1));
  EXPECT_EQ(nlohmann::json::parse(map.json(4))["frames"][1]["evicted"], 2);
}

TEST(MemoryMap, LongRunsKeepAsManyFramesAsShortOnesAndEveryEviction) {
  Scene scene;
  MemoryMap map(MemoryMap::kFewCells);
  for (int step = 0; step < 10'000; ++step) map.look(scene.at(step));
  const auto json = nlohmann::json::parse(map.json(4));
  EXPECT_GE(json["frames"].size(), 64U);
  EXPECT_LT(json["frames"].size(), 128U);
  EXPECT_EQ(json["every_steps"], 128);
}

TEST(MemoryMap, ThePictureHasALetterARequestAndNoColourUnlessAsked) {
  Scene scene;
  MemoryMap map(MemoryMap::kFewCells);
  map.look(scene.at(0));
  const std::string plain = map.picture(false);
  EXPECT_NE(plain.find("#ffg...."), std::string::npos) << plain;
  EXPECT_EQ(plain.find('\033'), std::string::npos);
  EXPECT_NE(map.picture(true).find('\033'), std::string::npos);
}

TEST(MemoryMap, AMemoryTooLargeIsNotLookedAt) {
  Scene scene;
  MemoryMap map(7);
  map.look(scene.at(0));
  EXPECT_TRUE(map.empty());
  EXPECT_TRUE(map.too_large());
}

}  // namespace
}  // namespace tessera
