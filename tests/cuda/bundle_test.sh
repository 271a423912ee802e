#!/usr/bin/env bash
# The folder for GPU machines that cannot build runs from anywhere, finds its plans and its libraries.
#   bundle_test.sh BUNDLE_SCRIPT PROGRAM CONFIGS
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
sh "$1" "$2" "$3" "$scratch/first"
mv "$scratch/first" "$scratch/moved"
cd /
said=$(env -i PATH="$PATH" "$scratch/moved/measure" --plan quick --dry-run)
[[ $said == *'plan quick'* ]] || { echo "$said"; exit 1; }
env -i LD_LIBRARY_PATH="$scratch/moved/lib" ldd "$scratch/moved/bin/tessera-measure" | tee "$scratch/libraries"
grep -q "$scratch/moved/lib/libyaml-cpp" "$scratch/libraries" || exit 1
