#include "sim/memory/block_table.hpp"

#include <algorithm>
#include <stdexcept>

namespace tessera {

std::uint8_t BlockTables::segment_for(std::uint64_t blocks) {
  const auto bits = static_cast<std::uint8_t>(blocks <= 1 ? 0 : std::bit_width(blocks - 1));
  const std::uint8_t segment = std::max(bits, kSmallest);
  if (segment >= kSegments) throw std::length_error("BlockTables: a table of more than 2^31 blocks");
  return segment;
}

std::size_t BlockTables::take_segment(std::uint8_t segment) {
  auto& reusable = free_segments_[segment];
  if (!reusable.empty()) {
    const std::size_t offset = reusable.back();
    reusable.pop_back();
    return offset;
  }
  const std::size_t offset = arena_.size();
  arena_.resize(offset + capacity(segment));
  return offset;
}

TableId BlockTables::open(std::uint32_t expected) {
  TableId table = 0;
  if (unused_.empty()) {
    table = static_cast<TableId>(tables_.size());
    tables_.emplace_back();
  } else {
    table = unused_.back();
    unused_.pop_back();
  }
  const std::uint8_t segment = segment_for(expected);
  tables_[table] = {take_segment(segment), 0, segment};
  return table;
}

void BlockTables::close(TableId table) {
  TESSERA_CHECK(at(table).segment != kClosed, "a table is closed once");
  free_segments_[tables_[table].segment].push_back(tables_[table].offset);
  tables_[table] = Table{};
  unused_.push_back(table);
}

void BlockTables::grow(TableId table, std::uint64_t size) {
  const Table old = tables_[table];
  const std::uint8_t segment = segment_for(size);
  const std::size_t offset = take_segment(segment);
  const auto from = arena_.begin() + static_cast<std::ptrdiff_t>(old.offset);
  std::copy_n(from, old.size, arena_.begin() + static_cast<std::ptrdiff_t>(offset));
  free_segments_[old.segment].push_back(old.offset);
  tables_[table] = {offset, old.size, segment};
}

}  // namespace tessera
