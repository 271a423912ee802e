#include "kernels/tiles/attention_flash.hpp"

#include "models/base/check.hpp"

namespace tessera {

template <>
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

}  // namespace tessera
