// One block on a map of the memory: who holds it, or what else it is.
#pragma once

#include <cstdint>

namespace tessera {

struct BlockCell {
  enum class State : std::uint8_t { free, cached, held };  // cached: free, its content still to be found
  State state = State::free;
  std::uint32_t holder = 0;   // slot of the first that holds it
  std::uint32_t users = 0;    // sequences that hold it
  std::uint64_t content = 0;  // differs from before once the block was given to somebody else
};

}  // namespace tessera
