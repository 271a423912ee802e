#!/usr/bin/env bash
# What this nvcc makes of the kernels is what the golden says, if the golden is of this version of nvcc.
#   resources_test.sh PROGRAM GOLDEN VERSION REPORT...
# To renew the golden after a change: PROGRAM VERSION REPORT... > tests/cuda/resources.csv
set -uo pipefail
program=$1 golden=$2 version=$3
shift 3
now=$("$program" "$version" "$@") || exit 1
if [[ $(head -n 1 "$golden") != "# nvcc $version;"* ]]; then
  echo "skipped: the golden is of $(head -n 1 "$golden"), this is nvcc $version"
  exit 77
fi
diff -u "$golden" <(printf '%s\n' "$now") || {
  echo "registers, shared memory or spills changed; if meant: $program $version $* > $golden"
  exit 1
}
