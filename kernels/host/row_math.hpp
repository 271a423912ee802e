// The arithmetic of kernels that only move rows: each stored number is one that was loaded.
#pragma once

#include "kernels/host/run.hpp"
#include "kernels/tiles/row_programs.hpp"

namespace tessera::host {

class KvWriteMath {
 public:
  using Cta = KvWrite::Cta;
  explicit KvWriteMath(const KvWrite& program) : program_(program) {}

  static bool keeps(Tensor) { return true; }
  void begin(const Cta&) {}
  void prologue(const Cta&, const Sram& sram) { k_ = sram[Tensor::k_new], v_ = sram[Tensor::v_new]; }
  void step(const Cta&, std::int64_t, const Sram&) {}
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta&, const TileRef& ref, std::int64_t, std::int64_t col) const {
    const std::int64_t head = ref.plane % program_.problem.kv_heads;
    return (ref.tensor == Tensor::k ? k_ : v_)(0, head * ref.cols + col);
  }

 private:
  const KvWrite& program_;
  LocalTile k_, v_;
};

class RowCopyMath {
 public:
  using Cta = RowCopy::Cta;
  explicit RowCopyMath(const RowCopy& program) : program_(program) {}

  static bool keeps(Tensor) { return true; }
  void begin(const Cta&) {}
  void prologue(const Cta&, const Sram& sram) { sram_ = &sram; }
  void step(const Cta&, std::int64_t, const Sram&) {}
  void epilogue(const Cta&, const Sram&) {}
  [[nodiscard]] float value(const Cta&, const TileRef& ref, std::int64_t row, std::int64_t col) const {
    const std::int64_t flat = ref.plane * program_.to_height + row;
    const std::int64_t plane = flat / program_.from_height, from = flat % program_.from_height;
    const LocalTile& tile = sram_->find(program_.from, plane, from);
    return tile(from - tile.ref.row, col);
  }

 private:
  const RowCopy& program_;
  const Sram* sram_ = nullptr;
};

}  // namespace tessera::host
