#!/usr/bin/env bash
# ./tessera as a caller sees it: arguments, streams, exit status, places it may be called from.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

test_first_call_builds_and_passes_arguments() {
  make_checkout a
  invoke a/tessera run 'two words' --json
  expect_success
  expect_equal $'one\nrun\ntwo words\n--json' "$out" 'standard output is the program alone'
  built || fail 'the build was not announced on standard error'
}

test_second_call_builds_nothing_and_says_nothing() {
  make_checkout a
  invoke a/tessera
  invoke a/tessera run
  invoke a/tessera run
  expect_success
  expect_equal '' "$err" 'standard error'
}

test_measuring_builds_its_program_when_first_asked_for() {
  make_checkout a
  invoke a/tessera run
  [[ ! -e a/build/tessera-measure ]] || fail 'built though nobody measures'
  invoke env TESSERA_COMMIT=abc a/tessera measure --dry-run
  expect_success
  expect_equal $'one\nmeasure\n--dry-run' "$out"
  [[ -x a/build/tessera-measure ]] || fail 'not built'
  invoke env TESSERA_COMMIT=abc a/tessera measure
  expect_equal '' "$err" 'the second call builds'
  mkdir -p a/validation/measurements/card
  touch -d '+1 minute' a/validation/measurements/card/gemm.csv a/validation/measurements
  invoke a/tessera run
  invoke a/tessera run
  expect_equal '' "$err" 'measurements are no reason to build'
}

test_nothing_missing_means_no_package_manager_and_no_root() {
  forbid apt-get apt dpkg sudo
  make_checkout a
  invoke a/tessera run
  expect_success
  invoke a/tessera test
  expect_success
  invoke a/tessera doctor
  expect_success
  expect_equal '' "$(forbidden_calls)" 'calls'
}

test_exit_status_is_the_programs() {
  make_checkout a
  invoke a/tessera fail
  expect_equal 3 "$status" 'first call'
  invoke a/tessera fail
  expect_equal 3 "$status" 'second call'
}

test_standard_input_is_the_programs_even_while_building() {
  make_checkout a
  printf 'a trace\n' >trace
  invoke a/tessera cat <trace
  expect_equal $'one\ncat\na trace' "$out"
}

test_symlink_spaces_and_any_working_directory() {
  make_checkout 'a checkout with spaces'
  mkdir 'bin dir' elsewhere
  ln -s '../a checkout with spaces/tessera' 'bin dir/t'
  cd elsewhere || fail cd
  invoke '../bin dir/t' run
  expect_equal $'one\nrun' "$out"
  [[ -x '../a checkout with spaces/build/tessera' ]] || fail 'not built beside the script'
  PATH="$scratch/bin dir:$PATH" invoke t run
  expect_equal '' "$err" 'the second call, found on PATH, builds'
  expect_equal $'one\nrun' "$out"
}

test_which_prints_the_program_and_nothing_else() {
  make_checkout a
  invoke a/tessera which
  expect_equal "$(pwd -P)/a/build/tessera" "$out"
  expect_equal one "$("$out")"
}

test_help_needs_no_build() {
  make_checkout a
  invoke a/tessera help
  expect_success
  expect_has "$out" './tessera run configs/quickstart.yaml'
  [[ ! -e a/build ]] || fail 'help built something'
  invoke a/tessera
  expect_success
  expect_has "$out" 'usage: ./tessera'
}

test_read_only_user_can_run_a_fresh_build() {
  if [[ $(id -u) != 0 ]] || ! command -v setpriv >/dev/null; then
    echo '    not checked: needs root and setpriv'
    return
  fi
  make_checkout a
  invoke a/tessera run
  chmod -R a+rX . ..
  invoke setpriv --reuid 65534 --regid 65534 --clear-groups a/tessera run
  expect_equal $'one\nrun' "$out"
  printf '#define WORD "two"\n' >a/sim/cli/word.hpp
  invoke setpriv --reuid 65534 --regid 65534 --clear-groups a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" TESSERA_BUILD_DIR
}

test_tests_end_with_ctests_summary_and_share_the_build() {
  make_checkout a
  invoke a/tessera test
  expect_success
  expect_has "$out" '100% tests passed, 0 tests failed out of 1'
  invoke a/tessera run
  expect_equal '' "$err" 'running after testing builds'
  invoke a/tessera test -R no_such_test
  [[ $status != 0 ]] || fail 'testing nothing is not a success'
}

# The contract says 0.1 s; the least of many runs says what the script costs on a busy machine too.

test_ci_run_works_from_anywhere() {
  make_checkout a
  cp -r "$source_dir/.ci" a/
  cd / || fail cd
  invoke env CI=true "$scratch/a/.ci/run"
  expect_success
  expect_has "$out" '100% tests passed, 0 tests failed out of 1'
}

test_overhead_on_a_fresh_build() {
  make_checkout a
  local i best=1000000 began took
  for i in {1..600}; do echo >"a/models/header_$i.hpp"; done
  invoke a/tessera run
  for i in {1..20}; do
    began=${EPOCHREALTIME/./}
    a/tessera run >/dev/null
    took=$((${EPOCHREALTIME/./} - began))
    ((took >= best)) || best=$took
  done
  echo "    script and program: $best us"
  ((best < 100000)) || fail "$best us, allowed 100000"
}

run_tests "$@"
