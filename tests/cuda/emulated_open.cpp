// The measuring program on an emulated card: everything but CUDA itself, for measure_test.sh.
#include "tests/support/emulated_machine.hpp"

namespace tessera::measure {

std::unique_ptr<Machine> open_machine() { return std::make_unique<test::EmulatedMachine>(); }

}  // namespace tessera::measure
