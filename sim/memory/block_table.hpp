// The block tables of all live requests: for each, the ids of its KV blocks in order of position.
//
// Tables live in one arena of ids, in segments of a power of two. A table that outgrows its segment
// moves to the next size; freed segments and table slots are reused last first. After the arena has
// grown to the workload's peak nothing is allocated, and a closed table costs no memory.
//
// A span handed out is valid until the next open() or append.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/hash_index.hpp"

namespace tessera {

using TableId = std::uint32_t;

class BlockTables {
 public:
  // A new empty table with room for `expected` blocks.
  TableId open(std::uint32_t expected = 0);
  // Forgets the table; its blocks must have been given back to their pool.
  void close(TableId table);

  [[nodiscard]] std::uint32_t size(TableId table) const { return at(table).size; }
  [[nodiscard]] std::span<const BlockId> blocks(TableId table) const {
    const Table& t = at(table);
    return {arena_.data() + t.offset, t.size};
  }

  void append(TableId table, BlockId block) { extend(table, 1)[0] = block; }
  // Adds `n` entries and returns them to be filled, as by BlockPool::allocate_n.
  std::span<BlockId> extend(TableId table, std::uint32_t n) {
    TESSERA_CHECK(at(table).segment != kClosed, "the table is open");
    const std::uint64_t size = std::uint64_t{tables_[table].size} + n;
    if (size > capacity(tables_[table].segment)) grow(table, size);
    Table& t = tables_[table];
    const std::span<BlockId> added{arena_.data() + t.offset + t.size, n};
    t.size = static_cast<std::uint32_t>(size);
    return added;
  }
  // Drops all entries but keeps the table open, as preemption does.
  void clear(TableId table) { tables_[table].size = 0; }

  [[nodiscard]] std::size_t open_tables() const { return tables_.size() - unused_.size(); }
  [[nodiscard]] std::size_t arena_entries() const { return arena_.size(); }

 private:
  static constexpr std::uint8_t kClosed = 0xFF;
  static constexpr std::uint8_t kSmallest = 3;  // 8 blocks
  static constexpr std::uint8_t kSegments = 32;

  struct Table {
    std::size_t offset = 0;
    std::uint32_t size = 0;
    std::uint8_t segment = kClosed;  // log2 of the room it has
  };

  static std::uint64_t capacity(std::uint8_t segment) { return std::uint64_t{1} << segment; }
  static std::uint8_t segment_for(std::uint64_t blocks);
  [[nodiscard]] const Table& at(TableId table) const {
    TESSERA_CHECK(table < tables_.size(), "the table was opened");
    return tables_[table];
  }
  std::size_t take_segment(std::uint8_t segment);
  void grow(TableId table, std::uint64_t size);

  std::vector<BlockId> arena_;
  std::vector<Table> tables_;
  std::vector<TableId> unused_;
  std::array<std::vector<std::size_t>, kSegments> free_segments_;  // offsets, per size
};

}  // namespace tessera
