#include "sim/memory/block_table.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace tessera {
namespace {

std::vector<BlockId> copy(const BlockTables& tables, TableId table) {
  const auto blocks = tables.blocks(table);
  return {blocks.begin(), blocks.end()};
}

TEST(BlockTables, KeepTheBlocksOfEachRequestInOrder) {
  BlockTables tables;
  const TableId a = tables.open();
  const TableId b = tables.open();
  for (BlockId i = 0; i < 100; ++i) {
    tables.append(a, i);
    tables.append(b, 1000 + i);
  }
  std::vector<BlockId> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(copy(tables, a), expected);
  std::iota(expected.begin(), expected.end(), 1000);
  EXPECT_EQ(copy(tables, b), expected);
  EXPECT_EQ(tables.size(b), 100u);
}

TEST(BlockTables, ExtendHandsOutRoomBehindWhatIsThere) {
  BlockTables tables;
  const TableId table = tables.open();
  tables.append(table, 7);
  const auto added = tables.extend(table, 20);
  ASSERT_EQ(added.size(), 20u);
  std::iota(added.begin(), added.end(), 100);
  const auto all = copy(tables, table);
  EXPECT_EQ(all.size(), 21u);
  EXPECT_EQ(all.front(), 7u);
  EXPECT_EQ(all.back(), 119u);
}

TEST(BlockTables, AClearedTableIsEmptyAndStillOpen) {
  BlockTables tables;
  const TableId table = tables.open(4);
  tables.append(table, 1);
  tables.clear(table);
  EXPECT_EQ(tables.size(table), 0u);
  tables.append(table, 2);
  EXPECT_EQ(copy(tables, table), (std::vector<BlockId>{2}));
}

TEST(BlockTables, ClosedTablesAndTheirRoomAreUsedAgain) {
  BlockTables tables;
  const TableId first = tables.open(100);
  const std::size_t room = tables.arena_entries();
  tables.close(first);
  EXPECT_EQ(tables.open_tables(), 0u);
  for (int i = 0; i < 1000; ++i) {
    const TableId table = tables.open(100);
    EXPECT_EQ(table, first);
    EXPECT_EQ(tables.size(table), 0u);  // nothing of its predecessor shows
    tables.extend(table, 100);
    tables.close(table);
  }
  EXPECT_EQ(tables.arena_entries(), room);
}

// The same load twice over needs no more room the second time.
TEST(BlockTables, SteadyStateNeedsNoMemory) {
  BlockTables tables;
  const auto load = [&] {
    std::vector<TableId> open;
    for (std::uint32_t i = 0; i < 64; ++i) {
      open.push_back(tables.open());
      for (BlockId j = 0; j < i * 5; ++j) tables.append(open.back(), j);
    }
    for (const TableId table : open) tables.close(table);
  };
  load();
  const std::size_t room = tables.arena_entries();
  EXPECT_GT(room, 0u);
  load();
  EXPECT_EQ(tables.arena_entries(), room);
}

TEST(BlockTables, AnExpectedSizeIsReservedAtOnce) {
  BlockTables tables;
  const TableId table = tables.open(1000);
  const std::size_t room = tables.arena_entries();
  EXPECT_GE(room, 1000u);
  for (BlockId i = 0; i < 1000; ++i) tables.append(table, i);
  EXPECT_EQ(tables.arena_entries(), room);
}

using BlockTablesDeathTest = testing::Test;

TEST(BlockTablesDeathTest, StopOnUseAfterClose) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  BlockTables tables;
  const TableId table = tables.open();
  tables.close(table);
  EXPECT_DEATH(tables.close(table), "closed once");
  EXPECT_DEATH(tables.append(table, 1), "is open");
  EXPECT_DEATH(tables.append(9, 1), "was opened");
}

}  // namespace
}  // namespace tessera
