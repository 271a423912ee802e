# Configures and builds, one builder at a time, showing progress and keeping quiet in logs.
# Sourced by ./tessera after packages.sh.

job_count() {
  local cores gib
  if [[ -n ${TESSERA_JOBS:-} ]]; then
    [[ $TESSERA_JOBS =~ ^[1-9][0-9]*$ ]] || die "TESSERA_JOBS=$TESSERA_JOBS: expected a number of processes, like 4"
    printf '%s\n' "$TESSERA_JOBS"
    return
  fi
  cores=$(nproc)
  # A heavy translation unit (Eigen, CLI11) takes close to 1 GiB.
  gib=$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null) || gib=''
  [[ -n $gib ]] || gib=$cores
  ((gib >= 1)) || gib=1
  printf '%s\n' "$((cores < gib ? cores : gib))"
}

# One build at a time per build folder. The lock lives as long as any process of the build does, even if
# this script is killed: descriptor 9 is inherited by cmake and the compilers on purpose.
take_lock() {
  mkdir -p -- "$build" 2>/dev/null && [[ -w $build ]] ||
    die "cannot write to $build; set TESSERA_BUILD_DIR to a folder you own"
  exec 9>>"$build/.lock"
  flock -n 9 && return
  say "waiting for another build in $build"
  flock 9
}
release_lock() { exec 9>&-; }

# Prints the value of variable $2 in the CMake cache of folder $1.
cached() { sed -n "s/^$2:[A-Z]*=//p" -- "$1/CMakeCache.txt" 2>/dev/null; }

# A cache made for another place, or for tools since removed, cannot be used: CMake refuses or fails.
drop_stale_cache() {
  local folder=$1 name tool
  [[ -e $folder/CMakeCache.txt ]] || return 0
  name=$(cached "$folder" CMAKE_PROJECT_NAME)
  [[ -z $name || $name == Tessera ]] || die "$folder is the build folder of $name; set TESSERA_BUILD_DIR to another"
  if [[ $(cached "$folder" CMAKE_HOME_DIRECTORY) -ef $root && $(cached "$folder" CMAKE_CACHEFILE_DIR) -ef $folder ]]; then
    for tool in CMAKE_CXX_COMPILER CMAKE_MAKE_PROGRAM CCACHE; do
      tool=$(cached "$folder" "$tool")
      [[ $tool != /* || -x $tool ]] || break
      tool=''
    done
    [[ -n $tool ]] || return 0
  fi
  rm -rf -- "$folder/CMakeCache.txt" "$folder/CMakeFiles"
}

# configure FOLDER OPTION...: does nothing where the folder already has these options and a build file.
configure() {
  local folder=$1 option generator=()
  shift
  drop_stale_cache "$folder"
  if [[ -e $folder/CMakeCache.txt && (-e $folder/build.ninja || -e $folder/Makefile) ]]; then
    for option in "$@"; do
      [[ $(cached "$folder" "${option%%=*}") == "${option#*=}" ]] || break
      option=''
    done
    [[ -n $option ]] || return 0
  fi
  if [[ ! -e $folder/CMakeCache.txt ]]; then
    ! have ninja || generator=(-G Ninja)
    set -- CMAKE_BUILD_TYPE=Release "$@"
  fi
  draw 'tessera: configuring'
  mkdir -p -- "$folder"
  if ! cmake -S "$root" -B "$folder" "${generator[@]}" "${@/#/-D}" </dev/null >"$folder/configure.log" 2>&1; then
    draw ''
    # From the first complaint on; CMake's own log lines before it say what was found.
    sed -n '/^CMake Error/,$p' -- "$folder/configure.log" | head -n 40 >&2
    die "configuring failed; all of its output is in $folder/configure.log"
  fi
}

# Reads the build tool's output: on a terminal one line that says how far it is ("[3/40]" is ninja's,
# "[ 12%]" make's).
show_build() {
  local line percent
  while IFS= read -r line; do
    [[ $line =~ ^\[\ *([0-9]+)(/([0-9]+)\]|%\])\ *(.*/)?(.*) ]] || continue
    percent=${BASH_REMATCH[1]}
    [[ -z ${BASH_REMATCH[3]} ]] || percent=$((100 * percent / BASH_REMATCH[3]))
    draw "tessera: building $percent %  ${BASH_REMATCH[5]}"
  done
  draw ''
}

# What the compilers said: the log without progress lines and without the command line ninja repeats.
build_errors() {
  sed -n '/^FAILED: /{s/^FAILED: \([^ ]*\).*/failed: \1/p;n;d;};/^\[ *[0-9]*[/%]/d;/^ninja: /d;p' -- "$1"
}

# compile FOLDER TARGET
compile() {
  local log=$1/build.log
  if cmake --build "$1" --target "$2" -j "$jobs" </dev/null 2>&1 | tee -- "$log" | show_build; then
    return
  fi
  build_errors "$log" | head -n 60 >&2
  die "the build failed; all of its output is in $log"
}

# ccache keeps its files under HOME; where that is unset or read-only they go into the build folder.
place_compiler_cache() {
  [[ -z ${CCACHE_DIR:-} ]] || return 0
  local home=${HOME:-} cache
  cache=${XDG_CACHE_HOME:-${home:+$home/.cache}}
  [[ -z $home || ! -d $home/.ccache || ! -w $home/.ccache ]] || return 0
  [[ -n $cache ]] && mkdir -p -- "$cache/ccache" 2>/dev/null && [[ -w $cache/ccache ]] && return
  export CCACHE_DIR=$build/.ccache
}

# build_tessera programs | measure | everything | benchmarks; leaves the number of processes to use in `jobs`
build_tessera() {
  local what=$1 started line tests=OFF began=$SECONDS
  trap 'exit 130' INT
  jobs=$(job_count)
  take_lock
  if [[ $what == programs || $what == measure ]] && fresh "$what"; then  # another built it while this waited
    release_lock
    return
  fi
  if [[ $what == programs || $what == measure ]]; then
    ensure_packages run
    # A folder that also holds the tests stays so, as long as their libraries are there.
    if [[ $(cached "$build" TESSERA_TESTS) == ON ]]; then
      local missing
      find_missing test
      ((${#missing[@]})) || tests=ON
    fi
  else
    ensure_packages test
    tests=ON
  fi
  place_compiler_cache
  if [[ $what == benchmarks ]]; then
    say "building the benchmarks in $build/bench"
    configure "$build/bench" TESSERA_TESTS=OFF TESSERA_BENCH=ON TESSERA_NO_CHECKS=ON
    compile "$build/bench" tessera_bench
  else
    say "building in $build"
    # Edits made while the compilers run must count as newer than the stamp.
    started=$build/.build-started
    printf '%s\n' "$root" >"$started"
    configure "$build" TESSERA_TESTS=$tests TESSERA_BENCH=$tests
    case $what in
      programs) compile "$build" programs ;;
      measure) compile "$build" tessera-measure ;;
      *)
        # One line says whether the CUDA kernels are among it.
        ! line=$(grep -m 1 -o 'CUDA kernels: .*' -- "$build/configure.log" 2>/dev/null) || say "$line"
        compile "$build" all
        ;;
    esac
    [[ $what == programs ]] || cp -p -- "$started" "$build/.measure-built-from"
    [[ $what == measure ]] || cp -p -- "$started" "$build/.programs-built-from"
    rm -f -- "$started"
  fi
  say "built in $((SECONDS - began)) s"
  release_lock
  trap - INT
}
