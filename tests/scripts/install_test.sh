#!/usr/bin/env bash
# `cmake --install`: the programs run from the prefix, wherever it is moved, and another project builds
# against it with find_package(Tessera). Works on the build it is given.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

[[ -x $binary_dir/tessera ]] || skip "no program in $binary_dir (build the target programs)"

# Installed once, then moved: nothing in it may know where it was put first.
install_prefix() {
  cmake --install "$binary_dir" --prefix "$scratch/first" >"$scratch/install.log" 2>&1 || fail "$(<"$scratch/install.log")"
  mv "$scratch/first" "$scratch/prefix"
  prefix=$scratch/prefix
}

test_programs_are_there_and_start() {
  install_prefix
  local program
  for program in tessera tessera-calibrate tessera-validate; do
    invoke "$prefix/bin/$program" --help
    expect_success
  done
}

test_descriptions_come_from_the_prefix() {
  install_prefix
  invoke "$prefix/bin/tessera" list gpus
  expect_success
  expect_has "$out" h100-sxm
  local gpus=$prefix/share/tessera/configs/gpus
  sed 's/^name:.*/name: only-in-this-prefix/' "$gpus/h100-sxm.yaml" >"$gpus/only-in-this-prefix.yaml"
  invoke "$prefix/bin/tessera" list gpus
  expect_has "$out" only-in-this-prefix
}

test_quickstart_runs_from_the_prefix() {
  install_prefix
  invoke "$prefix/bin/tessera" run "$prefix/share/tessera/configs/quickstart.yaml" --json
  expect_success
  expect_has "$out" '"completed"'
}

test_nothing_of_the_checkout_is_forgotten() {
  install_prefix
  expect_equal "$(cd "$source_dir/configs" && find . -type f | sort)" \
    "$(cd "$prefix/share/tessera/configs" && find . -type f | sort)" 'configs'
  expect_equal "$(cd "$source_dir/traces/samples" && find . -type f | sort)" \
    "$(cd "$prefix/share/tessera/traces/samples" && find . -type f | sort)" 'samples'
  [[ -s $prefix/share/doc/Tessera/LICENSE ]] || fail 'no licence'
}

test_a_consumer_finds_links_and_runs_it() {
  install_prefix
  mkdir consumer
  cat >consumer/CMakeLists.txt <<'CODE'
cmake_minimum_required(VERSION 3.22)
project(Consumer LANGUAGES CXX)
find_package(Tessera 0.1 REQUIRED)
add_executable(consumer main.cpp)
target_link_libraries(consumer PRIVATE Tessera::sim Tessera::validation)
CODE
  # One program that includes every installed header: each is complete in the prefix.
  (cd "$prefix/include/tessera" && find . -name '*.hpp' | sort | sed 's|^\./\(.*\)|#include "\1"|') >consumer/main.cpp
  cat >>consumer/main.cpp <<'CODE'
#include <cstdio>
int main() {
  for (const auto& name : tessera::config_names("gpus")) std::puts(name.c_str());
}
CODE
  local generator=()
  ! command -v ninja >/dev/null || generator=(-G Ninja)  # a bare machine has no make
  invoke cmake -S consumer -B consumer/build "${generator[@]}" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_BUILD_TYPE="$(sed -n 's/^CMAKE_BUILD_TYPE:[A-Z]*=//p' "$binary_dir/CMakeCache.txt")" \
    -DCMAKE_CXX_COMPILER="$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$binary_dir/CMakeCache.txt")"
  expect_success
  expect_equal "$prefix/lib/cmake/Tessera" "$(sed -n 's/^Tessera_DIR:PATH=//p' consumer/build/CMakeCache.txt)"
  invoke cmake --build consumer/build
  [[ $status == 0 ]] || fail "$out" "$err"
  TESSERA_CONFIGS=$prefix/share/tessera/configs invoke consumer/build/consumer
  expect_has "$out" h100-sxm
}

run_tests "$@"
