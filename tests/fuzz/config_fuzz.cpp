// Any bytes as a run config: an InputError, or a config that is written back and reads the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "models/base/spec.hpp"
#include "sim/serving/run_config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  try {
    const Yaml tree = parse_yaml(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.yaml");
    RunConfig config;
    read_spec(tree, config);
    const std::string text = emit_yaml(to_yaml(config));
    RunConfig again;
    read_spec(parse_yaml(text, "again.yaml"), again);
    if (emit_yaml(to_yaml(again)) != text) std::abort();
  } catch (const InputError& error) {
    if (std::string_view(error.what()).size() < 10) std::abort();
  }
  return 0;
}
