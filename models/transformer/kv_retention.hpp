// Which cached entries a layer still holds after n tokens, as counts and as pages.
//
//   full      every token
//   window    the first `sinks` tokens and the last `window` ones (StreamingLLM, arXiv 2309.17453)
//   chunked   the tokens since the last multiple of `window` (Llama 4)
//   cascade   sinks, then `cascades` sub-windows of window / cascades slots; a sub-window takes every second
//             entry that the one before it lets go, so slots of sub-window i lie 2^i tokens apart and the
//             reach is window / cascades x (2^cascades - 1) (arXiv 2406.17808, without its choice by score)
//   strided   one entry for every `stride` tokens, once `lag` younger tokens exist; the newest `slots` of
//   them
//             if slots > 0 (DeepSeek-V4: lag 0, all; Compressive Transformer, arXiv 1911.05507: lag = its
//             memory, slots = its compressed memory)
//   state     no entries: a state of constant size
//
// A page holds `block_tokens` consecutive token positions, aligned to the start of the sequence, and the
// entries of those positions; survivors of a cascade are scattered, so they live in a ring of their own.
#pragma once

#include <cstdint>

namespace tessera {

enum class Retention { full, window, chunked, cascade, strided, state };
const char* name_of(Retention retention);

struct RetentionRule {
  Retention kind = Retention::full;
  std::int64_t window = 0;
  std::int64_t sinks = 0;
  std::int64_t cascades = 1;
  std::int64_t stride = 1;
  std::int64_t lag = 0;
  std::int64_t slots = 0;

  // Entries made since the sequence began, and those of them still held.
  [[nodiscard]] std::int64_t appended(std::int64_t context) const;
  [[nodiscard]] std::int64_t held(std::int64_t context) const;
  // Of the newest `count` entries made, how many are held.
  [[nodiscard]] std::int64_t held_of_newest(std::int64_t context, std::int64_t count) const;
  // Whether `held` stays below a bound however long the sequence.
  [[nodiscard]] bool bounded() const { return kind != Retention::full && !(strided() && slots == 0); }
  [[nodiscard]] bool strided() const { return kind == Retention::strided; }
  // Tokens back to the oldest one that a long sequence still has an entry of (sinks apart); 0: all of them.
  [[nodiscard]] std::int64_t reach() const;

  // Entries one page has room for, and pages with at least one held entry.
  [[nodiscard]] std::int64_t entries_per_page(std::int64_t block_tokens) const;
  [[nodiscard]] std::int64_t pages(std::int64_t context, std::int64_t block_tokens) const;
  // The most pages any prefix of the sequence needs, at the worst alignment of window and page.
  [[nodiscard]] std::int64_t peak_pages(std::int64_t context, std::int64_t block_tokens) const;

  // Pages that must stay if a page spans all layers: those below `kept_prefix` hold sinks, those from
  // `first_live` on recent entries.
  struct LivePages {
    std::int64_t kept_prefix = 0;
    std::int64_t first_live = 0;
  };
  [[nodiscard]] LivePages live_pages(std::int64_t context, std::int64_t block_tokens) const;

  bool operator==(const RetentionRule&) const = default;
};

}  // namespace tessera
