#!/usr/bin/env bash
# The measuring program from end to end on an emulated card: a plan, an interruption, going on, a folder a
# card, and what `tessera validate` makes of the tables.
#   measure_test.sh PROGRAM VALIDATE
set -uo pipefail
program=$1 validate=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
fail() { printf 'FAILED: %s\n' "$@" >&2; exit 1; }

cat >plan.yaml <<'PLAN'
name: tiny
warmup: 1
repeats: 3
gemm: [{m: [1, 8, 32], n: [64], k: [64]}]
generation_attention: [{batch_size: [1, 2], past_kv_tokens: [100, 200, 300, 400], num_heads: 2, num_key_value_heads: 1}]
PLAN

"$program" --plan plan.yaml --out whole.csv --date 2026-01-02 --commit abc >files 2>log || fail "a run: $(<log)"
[[ $(<files) == $'whole_gemm.csv\nwhole_generation_attention.csv' ]] || fail "files: $(<files)"
[[ $(wc -l <whole_gemm.csv) == 4 && $(wc -l <whole_generation_attention.csv) == 9 ]] || fail "rows: $(wc -l ./*.csv)"
head -n 1 whole_generation_attention.csv | grep -q '^kernel_source,batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,attn_dtype,kv_cache_dtype,past_kv_tokens,window_size_tokens,latency_ms,flag,' ||
  fail "columns: $(head -n 1 whole_generation_attention.csv)"

"$program" --plan plan.yaml --out whole.csv >/dev/null 2>log
[[ $? == 2 ]] || fail 'a table was overwritten'
grep -q -- '--resume' log || fail "no hint at --resume: $(<log)"

# On a full disk a table keeps what it has.
cp whole_gemm.csv full_gemm.csv && head -n 3 whole_generation_attention.csv >full_generation_attention.csv
cp full_generation_attention.csv three.csv
(trap '' XFSZ; ulimit -f 0; "$program" --plan plan.yaml --out full.csv --resume) >/dev/null 2>&1
[[ $? == 1 ]] || fail 'a full disk went unnoticed'
cmp whole_gemm.csv full_gemm.csv && cmp three.csv full_generation_attention.csv || fail 'a full disk cost rows'

# Nothing measured is no success.
printf 'name: huge\nhbm: [{operation: [read], bytes: [8589934592]}]\n' >huge.yaml
"$program" --plan huge.yaml --out huge.csv >/dev/null 2>log
[[ $? == 1 ]] || fail "nothing measured: $(<log)"
grep -q 'nothing could be measured' log || fail "nothing measured, nothing said: $(<log)"

# Interrupted as soon as the first row is there.
"$program" --plan plan.yaml --out cut.csv --date 2026-01-02 --commit abc >/dev/null 2>log &
pid=$!
for ((i = 0; i < 2000; i++)); do
  [[ $(cat cut_*.csv 2>/dev/null | wc -l) -lt 3 ]] || break
  sleep 0.01
done
kill -INT "$pid"
wait "$pid"
code=$?
# So fast a machine that all was measured before the signal came would exit 0.
[[ $code == 130 || $code == 0 ]] || fail "interrupted: exit $code" "$(<log)"
[[ $(cat cut_*.csv | wc -l) -ge 3 ]] || fail 'rows were lost'
[[ $code == 0 ]] || grep -q 'the same command with --resume' log || fail "no hint: $(<log)"
"$program" --plan plan.yaml --out cut.csv --date 2026-01-02 --commit abc --resume >/dev/null 2>log || fail "going on: $(<log)"
cmp whole_gemm.csv cut_gemm.csv && cmp whole_generation_attention.csv cut_generation_attention.csv ||
  fail 'in pieces it measured something else'

"$program" --plan plan.yaml --out measured/ >files 2>log || fail "a folder: $(<log)"
[[ $(<files) == $'measured/emulated-card/gemm.csv\nmeasured/emulated-card/generation_attention.csv' ]] || fail "files: $(<files)"

for kernel in gemm generation_attention; do
  "$validate" --measurements "measured/emulated-card/$kernel.csv" --kernel "$kernel" --gpu a100-sxm-80g --json >json 2>log ||
    fail "validate $kernel: $(<log)"
  grep -q '"used": *[1-9]' json || fail "validate uses no row of $kernel: $(<json)"
done
echo 'ok'
