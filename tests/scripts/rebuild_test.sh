#!/usr/bin/env bash
# ./tessera and its build folder: what counts as a change, what happens when a build fails, is cut short,
# is asked for twice at once, or lands in a strange folder.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

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

test_moved_checkout_is_rebuilt_for_its_new_place() {
  make_checkout a
  invoke a/tessera run
  mv a b
  invoke b/tessera run
  expect_equal $'one\nrun' "$out"
  expect_equal "$(pwd -P)/b" "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' b/build/CMakeCache.txt)"
  # The same with a build folder that stays where it is.
  export TESSERA_BUILD_DIR=$scratch/build
  invoke b/tessera run
  mv b c
  invoke c/tessera run
  expect_equal $'one\nrun' "$out"
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

test_killed_script_leaves_nothing_half_built() {
  make_checkout a
  # The first compilation says that it began, then takes its time.
  printf '#!/bin/sh\ncase "$*" in *main.cpp*) touch "%s"; sleep 2 ;; esac\nexec c++ "$@"\n' "$PWD/began" >cxx
  chmod +x cxx
  CXX=$PWD/cxx a/tessera run >/dev/null 2>&1 &
  local script=$! i
  for i in {1..600}; do [[ ! -e began ]] || break; sleep 0.1; done
  [[ -e began ]] || fail 'the compiler was never called'
  kill "$script"
  wait "$script"
  [[ ! -e a/build/tessera ]] || fail 'too late to be a test'
  invoke a/tessera run  # waits for the compiler that still holds the lock
  expect_equal $'one\nrun' "$out"
  expect_has "$err" 'waiting for another build'
}

run_tests "$@"
