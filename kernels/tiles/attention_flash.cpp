#include "kernels/tiles/attention_flash.hpp"

#include "models/base/check.hpp"

namespace tessera {

void FlashForward::number_ctas() {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  TESSERA_CHECK(problem.q_heads % problem.kv_heads == 0, "query heads share KV heads evenly");
  TESSERA_CHECK(splits.empty() || splits.size() == problem.sequences.size(), "one split count a sequence");
  TESSERA_CHECK(numbering == Numbering::ragged || splits.empty(), "a rectangular grid has one split count");
  row_blocks_ = 0;
  for (std::int64_t s = 0; s < sequences; ++s) row_blocks_ = std::max(row_blocks_, tiles_of(rows(s), tile.m));
  if (numbering != Numbering::ragged) {
    ctas_ = row_blocks_ * most_splits * planes();
    return;
  }
  first_.assign(1, 0);
  first_.reserve(problem.sequences.size() + 1);
  for (std::int64_t s = 0; s < sequences; ++s)
    first_.push_back(first_.back() + tiles_of(rows(s), tile.m) * heads() * splits_of(s));
  ctas_ = first_.back();
}

FlashForward::Cta FlashForward::cta(std::int64_t number) const {
  const auto sequences = static_cast<std::int64_t>(problem.sequences.size());
  // The remainder of a division, leaving the quotient.
  const auto take = [](std::int64_t& from, std::int64_t count) {
    const std::int64_t rest = from % count;
    from /= count;
    return rest;
  };
  std::int64_t rest = number;
  switch (numbering) {
    case Numbering::rows_sequences_heads: {
      const std::int64_t block = take(rest, row_blocks_), sequence = take(rest, sequences);
      return cta_at(sequence, rest, block, 0);
    }
    case Numbering::rows_splits_heads_sequences: {
      const std::int64_t block = take(rest, row_blocks_), split = take(rest, most_splits);
      const std::int64_t head = take(rest, heads());
      return cta_at(rest, head, block, split);
    }
    case Numbering::sections: {
      const std::int64_t before = number / (section * row_blocks_ * most_splits) * section;
      rest = number - before * row_blocks_ * most_splits;
      const std::int64_t plane = before + take(rest, std::min(section, planes() - before));
      const std::int64_t block = take(rest, row_blocks_);
      return cta_at(plane / heads(), plane % heads(), row_blocks_ - 1 - block, rest);
    }
    case Numbering::ragged:
      break;
  }
  const auto after = std::upper_bound(first_.begin(), first_.end(), number);
  const std::int64_t sequence = after - first_.begin() - 1;
  rest = number - first_[static_cast<std::size_t>(sequence)];
  const std::int64_t blocks = tiles_of(rows(sequence), tile.m);
  if (splits_of(sequence) > 1) {
    const std::int64_t block = take(rest, blocks), split = take(rest, splits_of(sequence));
    return cta_at(sequence, rest, blocks - 1 - block, split);
  }
  const std::int64_t together = section_heads(sequence);
  const std::int64_t before = rest / (together * blocks) * together;
  rest -= before * blocks;
  const std::int64_t head = before + take(rest, std::min(together, heads() - before));
  return cta_at(sequence, head, blocks - 1 - rest, 0);
}

FlashForward::Cta FlashForward::cta_at(std::int64_t sequence, std::int64_t head, std::int64_t block,
                                       std::int64_t split) const {
  const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(sequence)];
  const int g = group();
  Cta c;
  c.sequence = static_cast<std::int32_t>(sequence);
  c.head = static_cast<std::int32_t>(head);
  c.split = static_cast<std::int32_t>(split);
  c.splits = splits_of(sequence);
  c.first_row = block * tile.m;
  c.rows = static_cast<std::int32_t>(std::clamp<std::int64_t>(s.queries * g - c.first_row, 0, tile.m));
  if (c.rows == 0) return c;
  c.keys = s.keys;
  c.first_key = key_origin(s, c.first_row);
  c.q_plane = sequence * heads() + head;
  c.kv_plane = sequence * problem.kv_heads + (packed ? head : head / problem.group());
  c.partial_plane = split * planes() + c.q_plane;

  auto [begin, end] = visible_tiles(s, c.first_row, c.rows);
  if (c.splits > 1) {
    const std::int64_t from = split_from_key_zero ? 0 : begin;
    const std::int64_t all =
        split_from_key_zero ? tiles_of(s.keys, tile.n) : std::max<std::int64_t>(0, end - begin);
    const std::int64_t each = tiles_of(all, c.splits);
    begin = std::max(begin, from + split * each);
    end = std::min(end, from + (split + 1) * each);
  }
  c.steps = std::max<std::int64_t>(0, end - begin);
  c.last_tile = end - 1;
  const std::int64_t start = s.keys - s.queries;  // position of query 0
  c.masked_from = (problem.visible(start + c.first_row / g, s.keys).end - c.first_key) / tile.n;
  c.masked_until =
      tiles_of(problem.visible(start + (c.first_row + c.rows - 1) / g, s.keys).begin - c.first_key, tile.n);
  return c;
}

KeyRange FlashForward::visible_tiles(const AttentionSequence& s, std::int64_t row, std::int64_t count) const {
  const std::int64_t start = s.keys - s.queries, origin = key_origin(s, row);
  return {(problem.visible(start + row / group(), s.keys).begin - origin) / tile.n,
          tiles_of(problem.visible(start + (row + count - 1) / group(), s.keys).end - origin, tile.n)};
}

std::int64_t FlashForward::section_heads(std::int64_t sequence) const {
  if (section_tiles == 0) return heads();
  const std::int64_t tiles =
      std::max<std::int64_t>(1, tiles_of(problem.sequences[static_cast<std::size_t>(sequence)].keys, tile.n));
  std::int64_t together = 16;
  while (together > 1 && tiles * together > section_tiles) together /= 2;
  return std::min<std::int64_t>(together, heads());
}

std::int32_t FlashForward::filled_splits(std::int64_t sequence, std::int64_t block) const {
  const AttentionSequence& s = problem.sequences[static_cast<std::size_t>(sequence)];
  const std::int64_t row = block * tile.m;
  const KeyRange seen = visible_tiles(s, row, std::min<std::int64_t>(tile.m, rows(sequence) - row));
  const std::int64_t tiles = seen.end - seen.begin;
  if (tiles <= 0) return 0;
  return static_cast<std::int32_t>(tiles_of(tiles, tiles_of(tiles, splits_of(sequence))));
}

}  // namespace tessera
