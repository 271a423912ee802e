// How KV groups of unequal entries share one pool of equal blocks, as vLLM's hybrid KV cache manager does
// (vllm/v1/core/kv_cache_utils.py).
//
//   page of a layer  P = the largest entry x block_tokens; a group with smaller entries puts more tokens into
//   a
//                    page: page_tokens = floor(P / entry) x stride, rounded down to whole blocks of tokens
//   block            one page for each of G layers; G = layers of the smallest group, or of the largest if
//   that
//                    has less than 1.25 times as many
//   tables           a group of L layers keeps ceil(L / G) block tables, each of its own blocks
// Lost to unequal groups: tables x G - L layers of padding in every block of a group, and what P leaves over.
// A recurrent state is a group too: one block per table at every snapshot, of which a sequence needs the
// last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/kv_layout.hpp"

namespace tessera {

struct KvPageGroup {
  std::string name;
  RetentionRule rule;
  std::int64_t layers = 0;
  std::int64_t entry_bytes = 0;  // of one layer; of a snapshot: the state
  std::int64_t page_tokens = 0;
  std::int64_t tables = 0;
  bool snapshot = false;  // of a recurrent state: one entry a page, of which the last is needed

  // Every page from the first on is needed.
  [[nodiscard]] bool keeps_prefix() const {
    return rule.kind == Retention::full || (rule.strided() && rule.slots == 0);
  }
  // Scattered survivors: pages are a ring and cannot be found again by a prefix.
  [[nodiscard]] bool ring() const { return rule.kind == Retention::cascade; }
  // Useful bytes of a sequence of this length.
  [[nodiscard]] std::int64_t useful_bytes(std::int64_t context) const {
    return layers * entry_bytes * (snapshot ? 1 : rule.held(context));
  }
  // Bytes of layers in one full page of every table.
  [[nodiscard]] std::int64_t bytes_per_page() const;
};

struct KvPagePlan {
  std::int64_t block_tokens = 0;      // of the group with the largest entries
  std::int64_t layers_per_block = 0;  // G
  std::int64_t page_bytes = 0;        // P
  std::int64_t hit_tokens = 0;        // a prefix hit is a multiple of this: all groups' pages end there
  std::vector<KvPageGroup> groups;

  [[nodiscard]] std::int64_t block_bytes() const { return layers_per_block * page_bytes; }
  // Most blocks that one page of every group takes.
  [[nodiscard]] std::int64_t blocks_per_page() const;
  // Share of a group's blocks that holds nothing even when its pages are full.
  [[nodiscard]] double padding(const KvPageGroup& group) const;
  // "52 layers local in 6 tables of 16 tokens, .."
  [[nodiscard]] std::string text() const;
};

// snapshot_tokens: distance of the copies of a recurrent state. Throws InputError if the model stores
// nothing.
KvPagePlan plan_pages(const KvLayout& layout, std::int64_t block_tokens, std::int64_t snapshot_tokens);

}  // namespace tessera
