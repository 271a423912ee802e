// A queue of ids in a ring of fixed size: pushed at the back, popped at the front, four bytes each.
#pragma once

#include <bit>
#include <cstdint>

#include "sim/memory/huge_pages.hpp"

namespace tessera {

class Ring {
 public:
  // Holds up to `most` ids at a time.
  explicit Ring(std::uint32_t most)
      : slots_(std::bit_ceil(std::size_t{most} + 1)), mask_(slots_.size() - 1) {}

  void push(std::uint32_t id) { slots_[back_++ & mask_] = id; }
  std::uint32_t pop() { return slots_[front_++ & mask_]; }

 private:
  HugeVector<std::uint32_t> slots_;
  std::size_t mask_;
  std::size_t front_ = 0;  // counts pops, never reset
  std::size_t back_ = 0;   // counts pushes
};

}  // namespace tessera
