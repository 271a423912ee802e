#include "validation/folds.hpp"

#include <fmt/format.h>

namespace tessera {

// The top bit is is_held_out()'s, so other bits of the same hash are used here.
int fold_of(const std::string& fold_key, int folds) {
  return static_cast<int>((stable_hash(fold_key) & 0xffffffff) % static_cast<unsigned>(folds));
}
std::uint64_t sample_key(const std::string& shape_key) { return stable_hash("sample of " + shape_key) >> 8; }

FoldedTables::FoldedTables(const KernelValidator& kernel, const Gpu& gpu, int folds)
    : kernel_(kernel), gpu_(gpu) {
  if (kernel.add_to_table == nullptr)
    throw InputError(fmt::format("--cost table: {} has no table source", kernel.name));
  if (folds < 2 || folds > 100)
    throw InputError(fmt::format("--folds {}: out of range, expected 2 to 100", folds));
  without_.resize(static_cast<std::size_t>(folds));
}

void FoldedTables::add(const Row& row, const std::string& fold_key) {
  const auto own = static_cast<std::size_t>(fold_of(fold_key, static_cast<int>(without_.size())));
  for (std::size_t i = 0; i < without_.size(); ++i)
    if (i != own) kernel_.add_to_table(without_[i], row);
}

void FoldedTables::finish() {
  for (KernelTable& table : without_) table.finish(gpu_);
}

std::optional<OpTime> FoldedTables::look_up(const Row& row, const std::string& fold_key) const {
  const auto own = static_cast<std::size_t>(fold_of(fold_key, static_cast<int>(without_.size())));
  return kernel_.look_up(without_[own], gpu_, row);
}

}  // namespace tessera
