#!/usr/bin/env bash
# ./tessera: when it builds, when it does not, and whose the streams are.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

built() { [[ $err == *'built in'* ]]; }

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

test_changed_header_is_rebuilt() {
  make_checkout a
  invoke a/tessera run
  printf '#define WORD "two"\n' >a/sim/cli/word.hpp
  invoke a/tessera run
  expect_equal $'two\nrun' "$out"
}

test_change_made_during_the_build_is_rebuilt_next_time() {
  make_checkout a
  # The compiler itself edits the header after reading it: the first program has the old word.
  printf '#!/bin/sh\nc++ "$@" || exit\ncase "$*" in *main.cpp*) printf %s >"%s" ;; esac\n' \
    "'#define WORD \"two\"\n'" "$PWD/a/sim/cli/word.hpp" >cxx
  chmod +x cxx
  CXX=$PWD/cxx invoke a/tessera run
  expect_equal $'one\nrun' "$out" 'program built before the edit'
  CXX=$PWD/cxx invoke a/tessera run
  expect_equal $'two\nrun' "$out" 'program built after the edit'
}

test_added_and_deleted_files_are_noticed() {
  make_checkout a
  invoke a/tessera run
  printf 'extern const char* extra;\nconst char* extra = "x";\n' >a/sim/cli/extra.cpp
  touch -d '2001-01-01' a/sim/cli/extra.cpp  # an old file moved in: only its folder is newer
  invoke a/tessera run
  built || fail 'an added file was not noticed'
  rm a/sim/cli/extra.cpp
  invoke a/tessera run
  expect_success
  built || fail 'a deleted file was not noticed'
}

test_new_samples_and_documents_beside_the_code_need_no_build() {
  make_checkout a
  invoke a/tessera run
  echo data >a/traces/samples/new.csv
  echo words >a/README.md
  invoke a/tessera run
  expect_equal '' "$err"
}

test_deleted_program_is_built_again() {
  make_checkout a
  invoke a/tessera run
  rm a/build/tessera
  invoke a/tessera run
  expect_equal $'one\nrun' "$out"
}

test_compile_error_is_shown_and_mending_it_goes_on() {
  make_checkout a
  printf '#define WORD word_nobody_declared\n' >a/sim/cli/word.hpp
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_equal '' "$out"
  expect_has "$err" word_nobody_declared
  expect_has "$err" 'sim/cli/main.cpp'
  expect_lacks "$err" CMakeFiles/tessera.dir/sim/cli/main.cpp.o.d # the command line is noise
  printf '#define WORD "mended"\n' >a/sim/cli/word.hpp
  invoke a/tessera run
  expect_equal $'mended\nrun' "$out"
}

test_failed_build_does_not_leave_the_old_program_running() {
  make_checkout a
  invoke a/tessera run
  printf '#define WORD word_nobody_declared\n' >a/sim/cli/word.hpp
  invoke a/tessera run
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_equal '' "$out"
}

test_configure_error_is_shown() {
  make_checkout a
  echo 'message(FATAL_ERROR "the moon is in the wrong phase")' >>a/CMakeLists.txt
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" 'the moon is in the wrong phase'
}

test_interrupted_configure_and_build_resume() {
  make_checkout a
  mkdir a/build
  printf 'CMAKE_PROJECT_NAME:STATIC=Tessera\n' >a/build/CMakeCache.txt  # a cache without the rest
  invoke a/tessera run
  expect_equal $'one\nrun' "$out"
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

test_moved_checkout_is_rebuilt_for_its_new_place() {
  make_checkout a
  invoke a/tessera run
  mv a b
  invoke b/tessera run
  expect_equal $'one\nrun' "$out"
  expect_equal "$(pwd -P)/b" "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' b/build/CMakeCache.txt)"
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

test_build_folder_of_choice() {
  make_checkout a
  TESSERA_BUILD_DIR=elsewhere/build TESSERA_JOBS=1 invoke a/tessera run
  expect_equal $'one\nrun' "$out"
  [[ -x elsewhere/build/tessera && ! -e a/build ]] || fail 'not built where it was asked for'
  TESSERA_BUILD_DIR=elsewhere/build invoke a/tessera run
  expect_equal '' "$err"
}

test_somebody_elses_build_folder_is_left_alone() {
  make_checkout a
  mkdir other
  printf 'CMAKE_PROJECT_NAME:STATIC=Other\n' >other/CMakeCache.txt
  TESSERA_BUILD_DIR=other invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" 'the build folder of Other'
  expect_equal 'CMAKE_PROJECT_NAME:STATIC=Other' "$(<other/CMakeCache.txt)"
}

test_senseless_job_count_is_refused() {
  make_checkout a
  TESSERA_JOBS=many invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" TESSERA_JOBS=many
  TESSERA_JOBS=many invoke a/tessera test
  expect_equal 1 "$status"
}

test_home_may_be_unset_or_unusable() {
  make_checkout a
  invoke env -u HOME a/tessera run
  expect_equal $'one\nrun' "$out"
  make_checkout b
  HOME=/dev/null invoke b/tessera run
  expect_equal $'one\nrun' "$out"
}

test_callers_at_the_same_time_build_once() {
  make_checkout a
  local i
  for i in 1 2 3 4; do a/tessera "$i" >"out.$i" 2>"err.$i" & done
  wait
  for i in 1 2 3 4; do expect_equal $'one\n'"$i" "$(<"out.$i")" "caller $i"; done
  expect_equal 1 "$(cat err.* | grep -c 'built in')" 'builds'
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
