# What is here, what is missing, what is optional. Sourced by ./tessera after packages.sh.

# row MARK NAME DETAIL
row() { printf '  %-4s %-22s %s\n' "$@"; }

# Prints the version that header $1 states in the macros $2 $3 ... (joined by dots), if it states one.
stated_version() {
  local file macro value parts=''
  file=$(header_folder "$1")/${2}
  for macro in "${@:3}"; do
    value=$(sed -n "s/^ *# *define  *$macro  *\"\{0,1\}\([0-9._]*\).*/\1/p" -- "$file" 2>/dev/null | head -n 1)
    parts+=${parts:+.}$value
  done
  printf '%s\n' "$parts"
}

header_version() {
  case $1 in
    zlib.h) stated_version "$1" zlib.h ZLIB_VERSION ;;
    zstd.h) stated_version "$1" zstd.h ZSTD_VERSION_MAJOR ZSTD_VERSION_MINOR ZSTD_VERSION_RELEASE ;;
    eigen3/*) stated_version "$1" eigen3/Eigen/src/Core/util/Macros.h EIGEN_WORLD_VERSION EIGEN_MAJOR_VERSION EIGEN_MINOR_VERSION ;;
    boost/*) stated_version "$1" boost/version.hpp BOOST_LIB_VERSION | tr _ . ;;
    fmt/*)  # 90100 means 9.1.0
      local number
      number=$(stated_version "$1" fmt/core.h FMT_VERSION)
      printf "%d.%d.%d\n" $((number / 10000)) $((number / 100 % 100)) $((number % 100))
      ;;
    nlohmann/*)
      stated_version "$1" nlohmann/detail/abi_macros.hpp NLOHMANN_JSON_VERSION_MAJOR NLOHMANN_JSON_VERSION_MINOR \
        NLOHMANN_JSON_VERSION_PATCH
      ;;
    CLI/*) stated_version "$1" CLI/Version.hpp CLI11_VERSION ;;
  esac
}

header_rows() {
  local entry folder header package
  for entry in "$@"; do
    header=${entry% *} package=${entry#* }
    if folder=$(header_folder "$header"); then
      row ok "$package" "$(header_version "$header")  $folder/$header"
    else
      row MISS "$package" "no $header"
    fi
  done
}

# optional NAME COMMAND WHAT-FOR: the first of the commands (separated by |) that exists.
optional() {
  local command commands
  IFS='|' read -r -a commands <<<"$2"
  for command in "${commands[@]}"; do
    have "$command" || continue
    row ok "$1" "$(command -v "$command")"
    return
  done
  row -- "$1" "$3"
}

gpu_row() {
  local gpus=''
  ! have nvidia-smi || gpus=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | sort | uniq -c) || gpus=''
  if [[ -n $gpus ]]; then
    row ok GPU "$(tr -s ' \n' ' ' <<<"$gpus")"
  else
    row -- GPU 'none seen; only measuring kernels needs one'
  fi
}

doctor() {
  local cxx missing version system=''
  [[ ! -r /etc/os-release ]] || system=$(sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\).*/\1/p' /etc/os-release)
  printf 'system: %s, %s, %s cores\n' "${system:-$(uname -s)}" "$(uname -m)" "$(nproc)"

  printf '\nto build and run\n'
  read -r cxx _ <<<"$(compiler)"
  if compiler_speaks_cpp20; then
    row ok compiler "$("$cxx" --version | head -n 1)"
  else
    row MISS 'g++ (C++20)' "$(have "$cxx" && "$cxx" --version | head -n 1 || echo "no $cxx")"
  fi
  version=$(cmake_version) || version=''
  if cmake_is_new_enough; then row ok cmake "$version"; else row MISS cmake "${version:-not here}; $cmake_least or newer"; fi
  if have ninja; then
    row ok ninja "$(ninja --version)"
  elif have make; then
    row ok make "$(make --version | head -n 1)"
  else
    row MISS ninja-build 'neither ninja nor make'
  fi
  header_rows "${run_headers[@]}"

  printf '\nto test and measure speed\n'
  header_rows "${test_headers[@]}"

  printf '\noptional\n'
  optional ccache ccache 'makes rebuilding quicker'
  optional nvcc 'nvcc|/usr/local/cuda/bin/nvcc' 'compiles the CUDA kernels that are measured'
  gpu_row
  optional MPI 'mpirun|mpiexec' 'spreads sweeps over machines'
  optional Chromium 'chromium|chromium-browser|google-chrome' 'checks the HTML report in a browser'
  optional clang 'clang++-14|clang++' 'builds the fuzz targets (with libclang-rt-14-dev)'

  printf '\n'
  if fresh; then
    printf 'built: %s, up to date\n' "$build/tessera"
  elif [[ -x $build/tessera ]]; then
    printf 'built: %s, older than the sources; the next command rebuilds it\n' "$build/tessera"
  else
    printf 'not built yet; the first command builds it in %s\n' "$build"
  fi
  find_missing test
  if ((${#missing[@]})); then
    printf 'missing: %s\nto install:\n  %s\n' "${missing[*]}" "$(install_line "${missing[@]}")"
  else
    printf 'nothing is missing\n'
  fi
}
