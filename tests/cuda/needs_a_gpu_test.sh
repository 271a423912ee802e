#!/usr/bin/env bash
# Built with CUDA, run without a GPU: exit 1, one line that says so, and no file left behind.
set -uo pipefail
if nvidia-smi -L >/dev/null 2>&1; then
  echo 'skipped: there is a GPU'
  exit 77
fi
out=$(mktemp -u)
said=$("$1" --plan quick --out "$out" 2>&1)
code=$?
echo "$said"
[[ $code == 1 && $said == *'needs a GPU'* && $(wc -l <<<"$said") == 1 && ! -e $out ]] || exit 1
