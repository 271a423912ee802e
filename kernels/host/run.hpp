// Runs a tile program on numbers: the walk is the program's, the arithmetic a small `Math` beside it.
//
// Each part (prologue, step, epilogue) is done in three moves: the program's loads copy tiles from memory to
// the SM, Math computes, the program's stores copy Math's results back. Math sees nothing but loaded tiles:
// what lies outside them reads as NaN, and a tile loaded in a step is gone in the next one unless Math keeps
// it.
//
//   struct Math {
//     bool keeps(Tensor);                                   // tiles that stay until the CTA ends
//     void begin(const Cta&);  void prologue(const Cta&, const Sram&);
//     void step(const Cta&, std::int64_t step, const Sram&);  void epilogue(const Cta&, const Sram&);
//     float value(const Cta&, const TileRef&, std::int64_t row, std::int64_t col);   // to store
//   };
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/host/memory.hpp"
#include "kernels/tiles/traffic.hpp"
#include "models/base/check.hpp"

namespace tessera::host {

inline constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

// One loaded tile, in coordinates of its own.
struct LocalTile {
  TileRef ref;
  std::vector<float> values;

  [[nodiscard]] float operator()(std::int64_t row, std::int64_t col) const {
    if (row < 0 || row >= ref.rows || col < 0 || col >= ref.cols) return kPoison;
    return values[static_cast<std::size_t>(row * ref.cols + col)];
  }
  // All columns of a row that was loaded.
  [[nodiscard]] std::span<const float> row(std::int64_t row) const {
    TESSERA_CHECK(row >= 0 && row < ref.rows, "only loaded rows are read");
    return {values.data() + row * ref.cols, static_cast<std::size_t>(ref.cols)};
  }
};

// What one CTA has on its SM.
class Sram {
 public:
  void load(const TileRef& ref, const HostTensor& from) {
    LocalTile tile{ref, {}};
    tile.values.reserve(static_cast<std::size_t>(ref.elements()));
    for (std::int64_t r = 0; r < ref.rows; ++r) {
      const float* source = from.row(ref.plane, ref.row + r, ref.col, ref.cols);
      tile.values.insert(tile.values.end(), source, source + ref.cols);
    }
    tiles_.push_back(std::move(tile));
  }
  // Forgets tiles from the `from`-th on that `keeps` does not hold.
  template <class Keeps>
  void forget(std::size_t from, Keeps&& keeps) {
    std::erase_if(tiles_, [&, i = std::size_t{0}](const LocalTile& t) mutable {
      return i++ >= from && !keeps(t.ref.tensor);
    });
  }
  [[nodiscard]] std::size_t tiles() const { return tiles_.size(); }

  // The latest tile of a tensor.
  [[nodiscard]] const LocalTile& operator[](Tensor tensor) const {
    for (auto t = tiles_.rbegin(); t != tiles_.rend(); ++t)
      if (t->ref.tensor == tensor) return *t;
    return missing();
  }
  // The one that holds this place; an empty tile if none does.
  [[nodiscard]] const LocalTile& find(Tensor tensor, std::int64_t plane, std::int64_t row,
                                      std::int64_t col = 0) const {
    for (auto t = tiles_.rbegin(); t != tiles_.rend(); ++t) {
      const TileRef& r = t->ref;
      if (r.tensor == tensor && r.plane == plane && row >= r.row && row < r.row + r.rows && col >= r.col &&
          col < r.col + r.cols)
        return *t;
    }
    return missing();
  }

 private:
  static const LocalTile& missing() {
    static const LocalTile empty{};
    return empty;
  }
  std::vector<LocalTile> tiles_;
};

// Loads at once, stores when told; counts by the elements it really copies.
struct MovingVisitor {
  HostMemory& memory;
  Sram& sram;
  Traffic& traffic;
  std::vector<TileRef> stores{};

  void load(const TileRef& ref) {
    sram.load(ref, memory[ref.tensor]);
    traffic.add_read(ref.tensor, bytes(ref));
  }
  void store(const TileRef& ref) { stores.push_back(ref); }
  void mma(std::int64_t m, std::int64_t n, std::int64_t k) { traffic.mma_flops += 2 * m * n * k; }
  void exp(std::int64_t count) { traffic.exps += count; }
  void alu(std::int64_t count) { traffic.alu_ops += count; }

  template <class Value>
  void flush(Value&& value) {
    for (const TileRef& ref : stores) {
      HostTensor& to = memory[ref.tensor];
      for (std::int64_t r = ref.row; r < ref.row + ref.rows; ++r)
        to.write_row(ref.plane, r, ref.col, ref.cols, [&](std::int64_t c) {
          return (ref.accumulate ? to.at(ref.plane, r, c) : 0.0f) + value(ref, r, c);
        });
      traffic.add_written(ref.tensor, bytes(ref));
      if (ref.accumulate) traffic.add_read(ref.tensor, bytes(ref));
    }
    stores.clear();
  }

 private:
  [[nodiscard]] std::int64_t bytes(const TileRef& ref) const {
    const double each = memory[ref.tensor].element_bytes();
    TESSERA_CHECK(each == ref.element_bytes, "a program counts the bytes its tensor has");
    return static_cast<std::int64_t>(static_cast<double>(std::int64_t{ref.rows} * ref.cols) * each);
  }
};

template <class P, class Math>
Traffic run(const P& program, Math& math, HostMemory& memory) {
  Traffic traffic;
  for (std::int64_t i = 0, ctas = program.ctas(); i < ctas; ++i) {
    const typename P::Cta cta = program.cta(i);
    Sram sram;
    MovingVisitor visitor{memory, sram, traffic};
    const auto flush = [&] {
      visitor.flush([&](const TileRef& ref, std::int64_t row, std::int64_t col) {
        return math.value(cta, ref, row, col);
      });
    };
    math.begin(cta);
    program.prologue(cta, visitor);
    math.prologue(cta, sram);
    flush();
    const std::size_t held = sram.tiles();
    for (std::int64_t s = 0; s < cta.steps; ++s) {
      program.step(cta, s, visitor);
      math.step(cta, s, sram);
      flush();
      sram.forget(held, [&](Tensor t) { return math.keeps(t); });
    }
    program.epilogue(cta, visitor);
    math.epilogue(cta, sram);
    flush();
  }
  return traffic;
}

}  // namespace tessera::host
