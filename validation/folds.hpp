// Cross-validation: every row is predicted from rows of other folds only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "validation/kernels.hpp"

namespace tessera {

// Which of `folds` parts a shape belongs to, for good; independent of is_held_out(). Needs 2 folds or more.
int fold_of(const std::string& fold_key, int folds);
// A number as good as random, by which a share of the shapes is picked; independent of both.
std::uint64_t sample_key(const std::string& shape_key);

// The `table` source, once per fold without that fold's rows.
class FoldedTables {
 public:
  // Throws InputError when the kernel has no table source or there are fewer than 2 folds.
  FoldedTables(const KernelValidator& kernel, const Gpu& gpu, int folds);
  void add(const Row& row, const std::string& fold_key);
  void finish();
  // Of a row by the rows of other folds. Empty: they hold nothing of its kind.
  [[nodiscard]] std::optional<OpTime> look_up(const Row& row, const std::string& fold_key) const;

 private:
  const KernelValidator& kernel_;
  const Gpu& gpu_;
  std::vector<KernelTable> without_;  // [fold]
};

}  // namespace tessera
