// Counting of attention tiles: how many key tiles a row block of queries visits.
//
// A row block of M packed rows holds the queries of one sequence (and, when packed, of the G query
// heads of one KV head: row r belongs to query r / G). It visits the key tiles of N tokens between the
// first key its window lets its first query see and the last key its last query may see (causal).
// The sums over row blocks are exact and take O(log) steps: sum of floor((a i + b) / c), by Euclid.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace tessera {

struct TileShape {
  int m = 64;  // rows of Q
  int n = 64;  // tokens of K and V
};

constexpr std::int64_t tiles_of(std::int64_t tokens, std::int64_t tile) { return (tokens + tile - 1) / tile; }

// sum_{i=0}^{count-1} floor((a i + b) / c), all arguments non-negative.
constexpr std::int64_t floor_sum(std::int64_t count, std::int64_t c, std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  while (count > 0) {
    sum += (a / c) * (count * (count - 1) / 2) + (b / c) * count;
    a %= c, b %= c;
    const std::int64_t top = a * count + b;
    if (top < c) break;
    count = top / c;
    b = top % c;
    std::swap(a, c);
  }
  return sum;
}

// The queries of one sequence against its keys. `window` = 0: no window.
struct CausalBlocks {
  std::int64_t queries = 1;  // new tokens
  std::int64_t history = 0;  // keys before the first of them
  std::int64_t group = 1;    // query heads packed into one row block; 1 when not packed
  std::int64_t window = 0;
  TileShape tile;
  bool from_window = false;  // FA3: a row block's first tile begins at the first key its window holds

  [[nodiscard]] constexpr std::int64_t row_blocks() const { return tiles_of(queries * group, tile.m); }
  [[nodiscard]] constexpr std::int64_t keys() const { return history + queries; }

  // Key tiles visited by row block `block`.
  [[nodiscard]] constexpr std::int64_t tiles(std::int64_t block) const {
    if (from_window && window > 0) return tiles_of(keys_until(block) - first_key(block), tile.n);
    return end(block) - begin(block);
  }
  // ... by all row blocks together.
  [[nodiscard]] constexpr std::int64_t total_tiles() const {
    const std::int64_t blocks = row_blocks();
    if (from_window && window > 0 && first_windowed_block() < blocks) return total_from_window();
    // Every block but the last ends inside the keys: end = floor((G (history + N) + (i + 1) M - 1) / (G N)).
    std::int64_t sum =
        floor_sum(blocks - 1, group * tile.n, tile.m, group * (history + tile.n) + tile.m - 1) +
        end(blocks - 1);
    if (window > 0) {
      const std::int64_t first = first_windowed_block();
      if (first < blocks) {
        const std::int64_t offset = first * tile.m + group * (history - window + 1);
        sum -= floor_sum(blocks - first, group * tile.n, tile.m, offset);
      }
    }
    return sum;
  }
  [[nodiscard]] constexpr std::int64_t longest() const {
    const std::int64_t blocks = row_blocks();
    if (window == 0 || first_windowed_block() >= blocks) return end(blocks - 1);
    // Alignment against the tile grid moves the count by one; the ends and one inner block bound it.
    std::int64_t most = std::max(tiles(blocks - 1), tiles(first_windowed_block()));
    for (std::int64_t i = std::max<std::int64_t>(0, blocks - 4); i < blocks; ++i)
      most = std::max(most, tiles(i));
    return most;
  }

 private:
  [[nodiscard]] constexpr std::int64_t keys_until(std::int64_t block) const {
    return history + std::min(queries - 1, ((block + 1) * tile.m - 1) / group) + 1;
  }
  [[nodiscard]] constexpr std::int64_t first_key(std::int64_t block) const {
    return std::max<std::int64_t>(0, history + block * tile.m / group - window + 1);
  }
  [[nodiscard]] constexpr std::int64_t end(std::int64_t block) const {
    return tiles_of(keys_until(block), tile.n);
  }
  [[nodiscard]] constexpr std::int64_t begin(std::int64_t block) const {
    return window == 0 ? 0 : first_key(block) / tile.n;
  }
  // Blocks from the first whose window has left key 0 see the window and their own queries, of which there
  // are floor((M - 1) / G) or one more beyond the first.
  [[nodiscard]] constexpr std::int64_t total_from_window() const {
    const std::int64_t blocks = row_blocks(), first = first_windowed_block(), inner = blocks - 1 - first;
    const std::int64_t fewest = (tile.m - 1) / group;
    const std::int64_t more = floor_sum(inner, group, tile.m, (first + 1) * tile.m - 1) -
                              floor_sum(inner, group, tile.m, first * tile.m) - inner * fewest;
    return floor_sum(first, group * tile.n, tile.m, group * (history + tile.n) + tile.m - 1) +
           (inner - more) * tiles_of(fewest + window, tile.n) + more * tiles_of(fewest + 1 + window, tile.n) +
           tiles(blocks - 1);
  }
  // First row block whose window no longer reaches key 0.
  [[nodiscard]] constexpr std::int64_t first_windowed_block() const {
    const std::int64_t needed = window - 1 - history;  // query index at which the window leaves key 0
    return needed <= 0 ? 0 : tiles_of(needed * group, tile.m);
  }
};

// The smallest split count whose wave efficiency is within 85 % of the best, as FlashAttention's
// num_splits_heuristic of FA2 picks it: efficiency of s is w / ceil(w) with w = blocks s / slots, and s
// counts only if it shortens the longest split. In integers, so that a tie at 85 % counts: 17/20 of the best.
constexpr int best_split_count(std::int64_t blocks, std::int64_t slots, std::int64_t key_tiles, int most) {
  const auto limit = static_cast<int>(std::min<std::int64_t>({most, slots, key_tiles}));
  const auto counts = [&](int s) { return s == 1 || tiles_of(key_tiles, s) != tiles_of(key_tiles, s - 1); };
  const auto waves = [&](int s) { return tiles_of(blocks * s, slots); };
  int best = 1;
  for (int s = 2; s <= limit; ++s)
    if (counts(s) && s * waves(best) > best * waves(s)) best = s;
  for (int s = 1; s <= limit; ++s)
    if (counts(s) && 20 * s * waves(best) >= 17 * best * waves(s)) return s;
  return 1;
}

}  // namespace tessera
