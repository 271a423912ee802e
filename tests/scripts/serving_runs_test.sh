#!/usr/bin/env bash
# The measured serving runs outside the repository, whole, against the errors asked of us, and the commands
# that read them.
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

data=$source_dir/../shared/data
tessera=$binary_dir/tessera
[[ -x $tessera ]] || skip "the program is not built: $tessera"

need() { [[ -e $data/$1 ]] || skip "the measured data set is not beside the repository: $data/$1"; }

test_apex_within_what_was_asked() {
  need e2e/apex/llama3.1-70b_results.csv
  invoke "$tessera" validate --runs apex --data "$data" --gate tpot=6 --gate ttft=10
  expect_success
}

test_closed_loop_sample_within_what_was_asked() {
  need e2e/aic_silicon_sample_h100_h200.csv.gz
  invoke "$tessera" validate --runs aic --data "$data" --gate tpot=12 --record "$scratch/record.csv" --date 2026-01-01
  expect_success
  expect_has "$(<"$scratch/record.csv")" "aic,all,tpot,held out,"
}

test_a_missed_gate_exits_3() {
  need e2e/apex/llama3.1-70b_results.csv
  invoke "$tessera" validate --runs apex --data "$data" --gate tpot=0.01
  expect_equal 3 "$status" "exit status"
  expect_has "$err" "gate missed"
}

test_bad_usage_exits_2_and_says_why() {
  local arguments words
  while IFS='|' read -r arguments words; do
    # shellcheck disable=SC2086
    invoke "$tessera" validate $arguments
    expect_equal 2 "$status" "exit status of: $arguments"
    expect_has "$err" "$words"
  done <<'CASES'
--runs apx|did you mean 'apex'
--runs apex|--data: missing
--runs apex --data /nowhere|/nowhere
--runs nowhere.csv|neither a file nor a set
CASES
}

test_a_file_of_ones_own_runs() {
  printf 'run,gpu,model,profile,concurrency,input_tokens,output_tokens,mean_tpot_ms\na,h100-sxm,llama-3.1-8b,vllm-0.12,8,100,20,7\n' \
    >"$scratch/mine.csv"
  invoke "$tessera" validate --runs "$scratch/mine.csv" --json --rows "$scratch/rows.csv"
  expect_success
  expect_has "$out" '"tpot"'
  expect_has "$(<"$scratch/rows.csv")" '"a",tpot,held out,7.0000'
  invoke "$tessera" validate --runs "$scratch/mine.csv" --gate tpot
  expect_equal 2 "$status" "exit status"
}

test_host_times_are_found_again_and_written() {
  need e2e/apex/llama3.1-70b_results.csv
  mkdir "$scratch/engines"
  invoke "$tessera" calibrate --runs apex --data "$data" --out "$scratch/engines" --date 2026-01-01
  expect_success
  expect_has "$(<"$scratch/engines/vllm-0.6.yaml")" "2026-01-01"
  # The committed profile holds what this command finds.
  expect_equal "$(grep -v '^host_source' "$source_dir/configs/engines/vllm-0.6.yaml")" \
    "$(grep -v '^host_source' "$scratch/engines/vllm-0.6.yaml")" "vllm-0.6.yaml"
}

run_tests "$@"
