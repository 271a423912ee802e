// One visitor from several lambdas, for std::visit.
#pragma once

namespace tessera {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 does not deduce aggregates by itself

}  // namespace tessera
