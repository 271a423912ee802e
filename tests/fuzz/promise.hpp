// What a fuzz target demands; libFuzzer keeps the input that breaks it.
#pragma once

#include <cstdlib>

namespace tessera {

inline void promise(bool kept) {
  if (!kept) std::abort();
}

}  // namespace tessera
