#!/usr/bin/env bash
# What a script around the program relies on: exit codes, which stream says what, JSON that is JSON alone, and
# results that are kept or not made up.
#   usage: bash streams_test.sh SOURCE_DIR BINARY_DIR [FUNCTION...]
# shellcheck disable=SC2154  # source_dir, binary_dir, scratch, status, out, err: lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
program=$binary_dir/tessera
[[ -x $program ]] || skip "the program is not built: $program"
quickstart=$source_dir/configs/quickstart.yaml
short=(run "$quickstart" --set trace.limit=20)

expect_status() { [[ $status == "$1" ]] || fail "exit status $status, expected $1; stderr:" "$err"; }
# expect_refusal WORDS ARGS...: exit 2, nothing on standard output, one helpful sentence on the other.
expect_refusal() {
  local words=$1
  shift
  invoke "$program" "$@"
  expect_status 2
  expect_equal "" "$out" "standard output"
  expect_has "$err" "tessera: "
  expect_has "$err" "$words"
}

test_usage_errors_exit_2_and_point_to_the_help() {
  local words
  for words in "" "rnu" "run" "run a b c" "list" "list gpus --jsn" "explain kv --tp 0" "explain kv --tp x" \
    "explain kv --batch -1" "run x.yaml --seed -1" "cache" "cache x --replicas 0" "trace" "kernel" \
    "kernel gemm --m 1 --n 1" "kernel gemm --m 0 --n 1 --k 1" "kernel gemm --m 1 --n 1 --k 1 --l2 hot" "config"; do
    # shellcheck disable=SC2086
    expect_refusal "Run 'tessera --help' for usage." $words
  done
}

test_a_misspelt_word_is_answered_with_the_one_meant() {
  expect_refusal "did you mean 'explain'?" explian kv
  expect_refusal "did you mean 'kernel'?" kernal gemm
  expect_refusal "did you mean '--context'?" explain kv --model llama-2-7b --contxt 4k
  expect_refusal "did you mean '--policy'?" cache x --polcy lru
  expect_refusal "did you mean 'attention-decode'?" kernel attention-decod
  expect_refusal "did you mean 'generate'?" trace genrate
  expect_refusal "did you mean 'schema'?" config schma
}

test_numbers_beyond_their_range_are_refused_in_words() {
  local number
  for number in -1 nan inf 1e300 x ''; do
    expect_refusal "--seed: '$number' is not valid, expected a whole number from 0 to 2^53" run x.yaml --seed "$number"
    expect_refusal "--limit: '$number' is not valid, expected a whole number of at least 1" trace stats x --limit "$number"
    expect_refusal "--tflops: '$number' is not valid, expected a number of TFLOP/s above 0" explain tier --tflops "$number"
    expect_refusal "--utilization: '$number' is not valid, expected a share above 0 and at most 1" explain kv \
      --model llama-2-7b --compare base --utilization "$number"
    expect_refusal "--dropout: '$number' is not valid, expected a number from 0 to 1" kernel attention-standard \
      --q-len 8 --dropout "$number"
  done
  expect_refusal "--batch: 99999999999 sequences, expected at most 1048576" kernel attention-decode --kv-len 8 \
    --batch 99999999999
  expect_refusal "expected at least 1 each" kernel attention-decode --kv-len 8 --batch 0
}

test_input_errors_name_file_line_and_column() {
  printf 'gpu: h100-sxm\nmodel: llama-3.1-8b\nmemory:\n  block_token: 16\n' >run.yaml
  expect_refusal "run.yaml:4:3: memory.block_token: unknown key" run run.yaml
  expect_refusal "did you mean 'block_tokens'?" run run.yaml
  printf 'gpu: h100-sxm\nmodel: llama-3.1-8b\nmemory: {kv_blocks: many}\n' >run.yaml
  expect_refusal "run.yaml:3:21: memory.kv_blocks: 'many' is not valid, expected a number" run run.yaml
  printf 'request_id,arrival_s,input_tokens,output_tokens\na,0,10,5\nb,1,ten,5\n' >trace.csv
  expect_refusal "trace.csv:3" run "$quickstart" --trace trace.csv
}

test_what_cannot_run_at_all_exits_2() {
  expect_refusal "does not fit" "${short[@]}" --set model=llama-3.1-405b
  expect_refusal "kv_blocks" "${short[@]}" --set memory.kv_blocks=1
  printf 'request_id,arrival_s,input_tokens,output_tokens\n' >none.csv
  expect_refusal "none.csv" run "$quickstart" --trace none.csv
}

test_help_and_version_are_data_and_exit_0() {
  local words
  for words in --help --version "run --help" "kernel gemm --help" "trace generate --help"; do
    # shellcheck disable=SC2086
    invoke "$program" $words
    expect_status 0
    expect_equal "" "$err" "standard error of $words"
    [[ -n $out ]] || fail "nothing printed: $words"
  done
}

test_json_is_the_whole_of_standard_output() {
  local words
  for words in "list gpus" "config schema" "explain kv --model llama-2-7b" "explain kv-claims" \
    "kernel copy --bytes 1M" "kernel hbm --memory hbm3-6.4 --pattern stream --bytes 1M" \
    "trace stats $source_dir/traces/samples/quickstart.csv" "run $quickstart --set trace.limit=5"; do
    # shellcheck disable=SC2086
    invoke "$program" $words --json
    expect_status 0
    case $out in
      "{"*"}" | "["*"]") ;;
      *) fail "not one JSON value: tessera $words" "$out" ;;
    esac
    expect_lacks "$out" $'\033'
  done
}

test_a_full_disk_is_a_failure() {
  [[ -c /dev/full ]] || return 0
  local words
  printf 'a\nb\na\n' >keys
  for words in "list gpus" "list models --json" "config schema" "explain kv --model llama-2-7b" \
    "kernel copy --bytes 1M --json" "cache keys" "trace stats $source_dir/traces/samples/quickstart.csv" \
    "run $quickstart --set trace.limit=5 --json" "run $quickstart --set trace.limit=5" --version; do
    status=0
    # shellcheck disable=SC2086
    "$program" $words >/dev/full 2>err || status=$?
    err=$(<err)
    expect_status 1
    expect_has "$err" "tessera: "
  done
}

test_a_pipe_gets_neither_colours_nor_a_progress_bar() {
  invoke "$program" "${short[@]}"
  expect_status 0
  expect_has "$out" "20 requests completed"
  expect_lacks "$out$err" $'\033'
  invoke env NO_COLOR=1 "$program" "${short[@]}" --memory-map
  expect_lacks "$out$err" $'\033'
}

test_a_terminal_gets_colours_unless_NO_COLOR_is_set() {
  command -v script >/dev/null || return 0
  local line
  printf -v line '%q ' "$program" "${short[@]}"
  # -e: exit status of the command; a terminal of its own for it.
  script -qec "env -u NO_COLOR $line" /dev/null </dev/null >coloured || return 0 # no terminals here
  expect_has "$(<coloured)" $'\033[1m'
  script -qec "env NO_COLOR=1 $line --quiet" /dev/null </dev/null >quiet
  expect_lacks "$(<quiet)" "requests completed"
  script -qec "env NO_COLOR=1 $line" /dev/null </dev/null >plain
  expect_has "$(<plain)" "requests completed"
  expect_lacks "$(<plain)" $'\033[1m'
}

test_results_are_named_on_standard_error_and_written_whole() {
  invoke "$program" "${short[@]}" --out results
  expect_status 0
  expect_has "$err" "results in results"
  local name
  for name in summary.json requests.csv resolved.yaml manifest.json timeline.json.gz; do
    [[ -s results/$name ]] || fail "missing: $name"
  done
  gzip -t results/timeline.json.gz || fail "the timeline is not gzip"
  expect_equal 21 "$(wc -l <results/requests.csv)" "lines of requests.csv"
  invoke "$program" run results/resolved.yaml --json
  expect_status 0
  # All but what the machine did: the last member.
  expect_equal "$(sed '/"volatile"/,$d' results/summary.json)" "$(sed '/"volatile"/,$d' <<<"$out")" "the run again"
}

test_a_folder_that_cannot_be_made_fails_before_the_run() {
  : >taken
  invoke "$program" "${short[@]}" --out taken/results
  [[ $status == 1 || $status == 2 ]] || fail "exit status $status"
  expect_equal "" "$out" "standard output"
  expect_has "$err" "taken"
}

test_configs_are_found_where_TESSERA_CONFIGS_says() {
  mkdir -p configs/models configs/gpus
  cp "$source_dir/configs/models/llama-2-7b.yaml" configs/models/mine.yaml
  TESSERA_CONFIGS=$PWD/configs invoke "$program" explain kv --model mine --json
  expect_status 0
  expect_has "$out" '"bytes_per_token": 524288' # 32 layers x 32 heads x 128 x K and V x 2 bytes
  TESSERA_CONFIGS=$PWD/configs invoke "$program" explain kv --model llama-2-7b
  expect_status 2
}

test_sibling_programs_get_every_word_and_give_their_exit_code() {
  [[ -x $binary_dir/tessera-validate ]] || return 0
  invoke "$program" validate --help
  expect_status 0
  expect_has "$out" "--measurements"
  invoke "$program" validate --mesurements x
  expect_status 2
}

run_tests "$@"
