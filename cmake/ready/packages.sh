# What a build needs, how to see that it is there, and how to get it on Debian. Sourced by ./tessera.
#
# Probes look at what the build itself uses (programs on PATH, headers on the include path), not at the
# package database, so libraries from /usr/local or CMAKE_PREFIX_PATH count. They start no process
# but the compiler's and cmake's own version questions.

# "header package"; a header found anywhere on the include path stands for its package.
run_headers=(
  'fmt/core.h libfmt-dev'
  'yaml-cpp/yaml.h libyaml-cpp-dev'
  'eigen3/Eigen/Core libeigen3-dev'
  'boost/graph/adjacency_list.hpp libboost-dev'
  'zlib.h zlib1g-dev'
  'zstd.h libzstd-dev'
  'nlohmann/json.hpp nlohmann-json3-dev'
  'CLI/CLI.hpp libcli11-dev'
  'tsl/robin_map.h robin-map-dev'
)
test_headers=(
  'gtest/gtest.h libgtest-dev'
  'gmock/gmock.h libgmock-dev'
  'rapidcheck.h librapidcheck-dev'
  'benchmark/benchmark.h libbenchmark-dev'
)
cmake_least=3.22
install_options='-y --no-install-recommends -o DPkg::Lock::Timeout=120'

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the folder that holds header $1, or fails.
header_folder() {
  local folder folders
  IFS=: read -r -a folders <<<"${CPATH:-}:${CPLUS_INCLUDE_PATH:-}"
  local prefixes
  IFS=: read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
  for folder in "${prefixes[@]}"; do folders+=("$folder/include"); done
  for folder in "${folders[@]}" /usr/local/include /usr/include; do
    [[ -n $folder && -e $folder/$1 ]] || continue
    printf '%s\n' "$folder"
    return
  done
  return 1
}

compiler() { printf '%s\n' "${CXX:-c++}"; }

compiler_speaks_cpp20() {
  local cxx
  read -r cxx _ <<<"$(compiler)"  # CXX may carry flags
  have "$cxx" && "$cxx" -std=c++20 -x c++ -E - >/dev/null 2>&1 <<'CODE'
#include <concepts>
#if __cplusplus < 202002L
#error not C++20
#endif
CODE
}

cmake_version() { have cmake && cmake --version 2>/dev/null | sed -n '1s/^cmake version //p'; }

cmake_is_new_enough() {
  local version
  version=$(cmake_version) && [[ -n $version ]] &&
    printf '%s\n' "$cmake_least" "$version" | sort -C -V
}

# Sets `missing` to the Debian packages that $1 (run | test) needs and that are not here.
find_missing() {
  local entries=("${run_headers[@]}") entry
  [[ $1 == run ]] || entries+=("${test_headers[@]}")
  missing=()
  compiler_speaks_cpp20 || missing+=(g++)
  cmake_is_new_enough || missing+=(cmake)
  have ninja || have make || missing+=(ninja-build)
  for entry in "${entries[@]}"; do
    header_folder "${entry% *}" >/dev/null || missing+=("${entry#* }")
  done
}

# "" when root, "sudo " when sudo would work or is at least installed.
sudo_prefix() {
  if [[ $(id -u) != 0 ]] && have sudo; then printf 'sudo '; fi
}

may_install() { [[ $(id -u) == 0 ]] || { have sudo && sudo -n true 2>/dev/null; }; }

install_line() {
  local sudo
  sudo=$(sudo_prefix)
  printf '%sapt-get update && %sDEBIAN_FRONTEND=noninteractive apt-get install %s %s\n' \
    "$sudo" "$sudo" "$install_options" "$*"
}

# Replaces the progress line, which exists only if somebody watches standard error.
draw() { [[ ! -t 2 ]] || printf '\r\033[K%s' "$1" >&2; }

# Installs what $1 (run | test) needs, or says how and stops. Nothing missing: touches nothing.
ensure_packages() {
  local missing=() wanted=() log=$build/install.log
  find_missing "$1"
  ((${#missing[@]})) || return 0
  have apt-get || die "missing: ${missing[*]} (Debian's names; install what this system calls them)"
  # Not needed, so never a reason to install on their own, but a build is much quicker with them.
  have ninja || [[ " ${missing[*]} " == *' ninja-build '* ]] || wanted+=(ninja-build)
  have ccache || wanted+=(ccache)
  local line
  line=$(install_line "${missing[@]}" "${wanted[@]}")
  if ! may_install; then
    say "missing: ${missing[*]}"
    say 'as root, or with the right to use sudo, run this line and try again:'
    printf '  %s\n' "$line" >&2
    exit 1
  fi
  say 'installing what is missing:'
  printf '  %s\n' "$line" >&2
  # The packages' own scripts may start daemons: they must not inherit the build lock.
  if ! LC_ALL=C bash -c "set -o pipefail; $line" </dev/null 2>&1 9>&- | tee -- "$log" | show_install; then
    tail -n 15 -- "$log" >&2
    die "the installation failed; all of its output is in $log"
  fi
  find_missing "$1"
  ((!${#missing[@]})) || die "still missing after the installation: ${missing[*]} (too old here, or not found)"
}

# Reads apt-get's output: passes on what it will download, and on a terminal shows how far it is.
show_install() {
  local total='?' unpacked=0 line
  while IFS= read -r line; do
    case $line in
      'Need to get'* | 'After this operation'*) draw ''; say "$line" ;;
      *' newly installed'*) total=${line% newly installed*} total=${total##* } ;;
      Get:*) draw 'tessera: downloading' ;;
      'Unpacking '*) draw "tessera: unpacking $((unpacked += 1)) of $total" ;;
      'Setting up '*) draw 'tessera: setting up' ;;
    esac
  done
  draw ''
}
