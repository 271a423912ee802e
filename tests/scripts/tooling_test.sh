#!/usr/bin/env bash
# The files that tools read: presets, clang-tidy's list of checks, executable bits.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

test_scripts_are_executable() {
  [[ -x $source_dir/tessera && -x $source_dir/.ci/run ]] || fail 'a clone could not call them'
}

test_presets_are_understood() {
  cp "$source_dir/CMakePresets.json" .
  invoke cmake --list-presets
  expect_success
  local name
  for name in release debug asan tsan fuzz bench; do expect_has "$out" "\"$name\""; done
}

# A preset that sets a misspelt option would be silently ignored.
test_presets_set_options_that_exist() {
  local option
  for option in $(grep -o 'TESSERA_[A-Z_]*' "$source_dir/CMakePresets.json" | sort -u); do
    grep -Eq "(option|set)\\($option " "$source_dir/CMakeLists.txt" || fail "CMakeLists.txt knows no $option"
  done
}

test_clang_tidy_reads_its_list_and_finds_a_planted_mistake() {
  command -v clang-tidy >/dev/null || { echo '    not checked: no clang-tidy'; return; }
  mkdir models
  cp "$source_dir/.clang-tidy" .
  printf 'int* f() {\n  int* p = 0;\n  return p;\n}\n' >models/a.cpp
  invoke clang-tidy models/a.cpp -- -std=c++20
  expect_has "$out" modernize-use-nullptr
  expect_lacks "$err" 'rror parsing'
}

run_tests "$@"
