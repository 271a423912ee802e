# Helpers of the shell tests. A test file sources this, defines functions named test_*, and ends with
# `run_tests "$@"`; each function runs in a subshell with a scratch folder of its own.
#   usage: bash NAME_test.sh SOURCE_DIR BINARY_DIR [FUNCTION...]
set -uo pipefail
source_dir=$1 binary_dir=$2
unset TESSERA_BUILD_DIR TESSERA_JOBS TESSERA_CONFIGS

fail() { printf '    %s\n' "$@" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*"; exit 77; }

expect_equal() { [[ $2 == "$1" ]] || fail "${3:-value}" "expected: $1" "actual:   $2"; }
expect_has() { [[ $1 == *"$2"* ]] || fail "expected to find: $2" "in: $1"; }
expect_lacks() { [[ $1 != *"$2"* ]] || fail "expected not to find: $2" "in: $1"; }

# A checkout with the real root script and a program of a few lines: it prints a word that a test can
# change, its arguments, one a line, and its standard input if the first argument is "cat".
make_checkout() {
  local to=$1
  mkdir -p "$to"/{models,kernels,sim/cli,traces/samples,validation,tests}
  cp "$source_dir/tessera" "$to/"
  cp -r "$source_dir/cmake" "$to/"
  printf '#define WORD "one"\n' >"$to/sim/cli/word.hpp"
  cat >"$to/sim/cli/main.cpp" <<'CODE'
#include <cstdio>
#include <cstring>
#include "word.hpp"
int main(int argc, char** argv) {
  std::puts(WORD);
  for (int i = 1; i < argc; ++i) std::puts(argv[i]);
  if (argc > 1 && std::strcmp(argv[1], "cat") == 0)
    for (int c; (c = std::getchar()) != EOF;) std::putchar(c);
  return argc > 1 && std::strcmp(argv[1], "fail") == 0 ? 3 : 0;
}
CODE
  cat >"$to/CMakeLists.txt" <<'CODE'
cmake_minimum_required(VERSION 3.22)
project(Tessera LANGUAGES CXX)
option(TESSERA_TESTS "" OFF)
option(TESSERA_BENCH "" OFF)
file(GLOB sources CONFIGURE_DEPENDS sim/cli/*.cpp)
add_executable(tessera ${sources})
add_custom_target(programs DEPENDS tessera)
add_executable(tessera-measure EXCLUDE_FROM_ALL ${sources})
if(TESSERA_TESTS)
  enable_testing()
  add_test(NAME prints COMMAND tessera)
endif()
CODE
}

# invoke COMMAND...: leaves its exit status in `status`, what it printed in `out` and `err`.
invoke() {
  status=0
  "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  out=$(<"$scratch/out") err=$(<"$scratch/err")
}
built() { [[ $err == *'built in'* ]]; }
expect_success() { [[ $status == 0 ]] || fail "exit status $status, stderr:" "$err"; }

# Puts commands that must not be called first on PATH; `forbidden_calls` lists the calls made.
forbid() {
  local name
  mkdir -p "$scratch/forbidden"
  for name in "$@"; do
    printf '#!/bin/sh\necho "%s $*" >>"%s"\nexit 1\n' "$name" "$scratch/forbidden.calls" >"$scratch/forbidden/$name"
    chmod +x "$scratch/forbidden/$name"
  done
  PATH=$scratch/forbidden:$PATH
}
forbidden_calls() { cat "$scratch/forbidden.calls" 2>/dev/null || true; }

run_tests() {
  shift 2
  local tests failed=0 test
  if (($#)); then tests=("$@"); else mapfile -t tests < <(compgen -A function test_); fi
  ((${#tests[@]})) || { echo 'no tests'; exit 1; }
  local all
  all=$(mktemp -d) || exit 1
  # shellcheck disable=SC2064
  trap "rm -rf '$all'" EXIT
  for test in "${tests[@]}"; do
    scratch=$all/$test
    mkdir "$scratch"
    if (cd "$scratch" && HOME=$scratch/home && export HOME && mkdir "$HOME" && "$test"); then
      printf 'ok      %s\n' "${test#test_}"
    else
      printf 'FAILED  %s\n' "${test#test_}"
      failed=$((failed + 1))
    fi
  done
  printf '%d tests, %d failed\n' "${#tests[@]}" "$failed"
  exit $((failed > 0))
}
