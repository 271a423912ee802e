#!/usr/bin/env bash
# ./tessera on a machine without cmake: what it installs, what it says, when it stops. cmake is taken
# off PATH; apt-get, sudo and id are stand-ins, so nothing is really installed and no root is needed.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

# stand_in NAME: the rest of the script comes on standard input; every call is logged to `calls`.
stand_in() {
  { printf '#!/bin/bash\necho "%s $*" >>"%s/calls"\n' "$1" "$scratch"; cat; } >"$bin/$1"
  chmod +x "$bin/$1"
}

# A PATH with everything this machine has except cmake and whatever could change the machine.
# user_id 0 is root; `apt-get install` puts cmake back.
bare_machine() {
  local user_id=$1 name folder real_cmake
  real_cmake=$(command -v cmake)
  bin=$scratch/bin
  mkdir "$bin"
  local IFS=:
  for folder in $PATH; do
    [[ ! -d $folder ]] || find "$folder" -maxdepth 1 ! -type d -exec ln -s -t "$bin" {} + 2>/dev/null
  done
  for name in cmake apt-get apt dpkg sudo id ccache; do rm -f "$bin/$name"; done
  PATH=$bin
  stand_in id <<<"echo $user_id"
  stand_in apt-get <<CODE
if [[ " \$* " == *' install '* ]]; then
  echo '0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.'
  echo 'Need to get 8,692 kB of archives.'
  ln -s '$real_cmake' '$bin/cmake'
fi
CODE
  make_checkout a
}
calls() { grep -v '^id' "$scratch/calls" 2>/dev/null || true; }

test_the_stand_in_machine_lacks_only_cmake() {
  bare_machine 0
  ! command -v cmake >/dev/null || fail 'cmake is still there'
  command -v c++ >/dev/null || fail 'no compiler'
}

test_root_gets_what_is_missing_and_the_program_runs() {
  bare_machine 0
  invoke a/tessera run
  expect_success
  expect_equal $'one\nrun' "$out" 'apt-get must not write to standard output'
  local line
  line=$(sed -n 's/^  \(apt-get update .*\)/\1/p' <<<"$err")
  expect_has "$line" 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends'
  expect_has "$line" ' cmake'
  expect_lacks "$line" sudo
  expect_has "$err" 'Need to get 8,692 kB'
  # What was printed is what was run.
  expect_equal "apt-get update
apt-get ${line#*noninteractive apt-get }" "$(calls)"
}

test_installing_leaves_standard_input_to_the_program() {
  bare_machine 0
  sed -i '2i cat >/dev/null' "$bin/apt-get"  # package scripts may read what they are given
  invoke a/tessera cat <<<'a trace'
  expect_equal $'one\ncat\na trace' "$out"
}

test_running_needs_no_test_packages() {
  bare_machine 1000
  sed -i 's|gtest/gtest.h|no/such/header.h|' a/cmake/ready/packages.sh
  invoke a/tessera run
  expect_has "$err" 'missing: cmake'
  expect_lacks "$err" libgtest-dev
  invoke a/tessera test
  expect_has "$err" 'libgtest-dev'
  expect_equal 1 "$status"
}

test_no_root_stops_with_the_line() {
  bare_machine 1000
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_equal '' "$out"
  expect_has "$err" 'missing: cmake'
  expect_has "$err" '  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y'
  expect_equal '' "$(calls)" 'nothing may be called'
}

test_sudo_without_a_password_is_used() {
  bare_machine 1000
  stand_in sudo <<'CODE'
[[ $1 != -n ]] || shift
env "$@"
CODE
  invoke a/tessera run
  expect_success
  expect_has "$err" '  sudo apt-get update && sudo DEBIAN_FRONTEND=noninteractive apt-get install'
  expect_has "$(calls)" 'sudo DEBIAN_FRONTEND=noninteractive apt-get install -y'
}

test_sudo_that_asks_for_a_password_is_not_used() {
  bare_machine 1000
  stand_in sudo <<<'exit 1'
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" '  sudo apt-get update && sudo DEBIAN_FRONTEND'
  expect_equal 'sudo -n true' "$(calls)" 'only the question whether it would work'
}

test_failed_installation_is_said_with_its_last_words() {
  bare_machine 0
  stand_in apt-get <<<'echo "E: the mirror is on holiday" >&2; exit 100'
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" 'E: the mirror is on holiday'
}

test_installation_that_brings_too_little_is_said() {
  bare_machine 0
  stand_in apt-get <<<'exit 0'
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" 'still missing after the installation: cmake'
}

test_old_cmake_counts_as_missing() {
  bare_machine 1000
  stand_in cmake <<<'echo "cmake version 3.21.9"'
  invoke a/tessera run
  expect_has "$err" 'missing: cmake'
}

test_old_compiler_counts_as_missing() {
  bare_machine 1000
  stand_in old-c++ <<<'[[ $* != *c++20* ]]'
  CXX=old-c++ invoke a/tessera run
  expect_has "$err" 'missing: g++'
}

test_other_systems_are_told_the_names() {
  bare_machine 0
  rm "$bin/apt-get"
  invoke a/tessera run
  expect_equal 1 "$status"
  expect_has "$err" 'missing: cmake'
}

test_libraries_outside_the_system_folders_count() {
  bare_machine 1000
  sed -i 's|zlib.h zlib1g-dev|only/here.h only-here-dev|' a/cmake/ready/packages.sh
  invoke a/tessera run
  expect_has "$err" only-here-dev
  mkdir -p prefix/include/only
  touch prefix/include/only/here.h
  CMAKE_PREFIX_PATH=/nowhere:$PWD/prefix invoke a/tessera run
  expect_lacks "$err" only-here-dev
}

test_doctor_reports_and_installs_nothing() {
  bare_machine 0
  invoke a/tessera doctor
  expect_success
  expect_has "$out" 'MISS cmake'
  expect_has "$out" 'missing: cmake'
  expect_has "$out" 'not built yet'
  expect_has "$out" nvcc
  expect_equal '' "$(calls)"
}

run_tests "$@"
