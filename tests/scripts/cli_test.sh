#!/usr/bin/env bash
# The command line of the built program: bad usage exits 2 with a sentence that helps, data goes to standard
# output, an interrupt keeps what was finished.
set -uo pipefail
source_dir=$1
program=$2/tessera
[[ -x $program ]] || { echo "the program is not built: $program"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tests=0 failed=0
quickstart=$source_dir/configs/quickstart.yaml

# expect CODE WORDS ARGS...: exit code and words in what is said.
expect() {
  local code=$1 words=$2 got
  shift 2
  tests=$((tests + 1))
  "$program" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
  got=$?
  if [[ $got != "$code" ]] || ! grep -qF -- "$words" "$scratch/out" "$scratch/err"; then
    failed=$((failed + 1))
    echo "FAILED  tessera $*: exit $got, expected $code and '$words'"
    sed 's/^/    /' "$scratch/err"
  fi
}

expect 2 "did you mean 'run'" rnu
expect 2 "subcommand" 
expect 2 "did you mean '--set'" run "$quickstart" --sett a=b
expect 2 "CONFIG" run
expect 2 "cannot open" run "$scratch/nowhere.yaml"
expect 2 "directory" run "$scratch"
expect 2 "did you mean 'kv_blocks'" run "$quickstart" --set memory.kv_blcks=4
expect 2 "expected key=value" run "$quickstart" --set memory
expect 2 "seed" run "$quickstart" --seed -4
expect 2 "cannot be opened" run "$quickstart" --trace "$scratch/none.csv"
expect 2 "does not fit" run "$quickstart" --set model=llama-3.1-405b
expect 2 "pp" run "$quickstart" --set parallel.pp=2
expect 2 "kv_blocks" run "$quickstart" --set memory.kv_blocks=3000000000
expect 2 "did you mean 'gpus'" list gpu
expect 2 "did you mean 'kv'" explain kb --model llama-2-7b
expect 2 "did you mean 'llama-2-7b'" explain kv --model lama-2-7b
expect 2 "expected a whole number" explain kv --model llama-2-7b --context 12x
expect 2 "did you mean 'memory.block_tokens'" config explain memory.block_token
expect 2 "block identities" cache "$source_dir/traces/samples/quickstart.csv"
expect 2 "expected" cache "$source_dir/traces/samples/quickstart.csv" --blocks -3
expect 0 "2,000 requests" trace zipf --requests 2000 --objects 100 --size 10 --out "$scratch/zipf.bin.gz"
expect 0 "s3-fifo" cache "$scratch/zipf.bin.gz" --policy s3-fifo,ttl,belady --blocks 10,unbounded --json
expect 0 "byte_miss_ratio" cache "$scratch/zipf.bin.gz" --policy gdsf --bytes 200 --cost size --json
expect 0 "lru-shards" cache "$scratch/zipf.bin.gz" --mrc --shards 0.5 --blocks 10
expect 0 "busiest" cache "$scratch/zipf.bin.gz" --replicas 4 --routing session --blocks 10
expect 2 "did you mean 's3-fifo'" cache "$scratch/zipf.bin.gz" --policy s3fifo
expect 2 "did you mean 'session'" cache "$scratch/zipf.bin.gz" --replicas 4 --routing sesion
expect 2 "counts blocks" cache "$scratch/zipf.bin.gz" --policy arc --bytes 200
expect 2 "expected a rate" cache "$scratch/zipf.bin.gz" --shards -1
expect 2 "alpha" trace zipf --alpha -1 --out -
expect 2 "lengths" trace generate --rate 5 --requests 10 --out -
expect 2 "kernel" validate --measurements "$quickstart" --kernel gem --gpu h100-sxm
expect 0 "points" measure --plan quick --dry-run
expect 0 "budget of" measure --dry-run --budget 60
expect 2 "did you mean 'quick'" measure --plan quik --dry-run
expect 2 "--out: missing" measure --plan quick
expect 2 "--budget" measure --plan quick --budget -1
expect 2 "--budget" measure --plan quick --dry-run --budget nan
printf 'name: p\ngem: []\n' >"$scratch/plan.yaml"
expect 2 "plan.yaml:2:1: gem" measure --plan "$scratch/plan.yaml" --dry-run
nvidia-smi -L >/dev/null 2>&1 || expect 1 "needs a GPU" measure --plan quick --out "$scratch/m.csv"
printf '\x80\x00\x01junk' >"$scratch/junk"
expect 2 "junk" run "$quickstart" --trace "$scratch/junk"
: >"$scratch/empty.csv"
expect 2 "empty" run "$quickstart" --trace "$scratch/empty.csv"

expect 0 "tessera 0." --version
expect 0 "Examples" --help
expect 0 '"completed": 600' run "$quickstart" --json
expect 0 "bytes_per_token" explain kv --model llama-3.1-70b --context 128k --json
expect 0 '"saved_fraction": 0.49' explain cascade --model llama-3.1-8b --gpu h100-sxm --prefix 2k --context 4k --batch 64 --json
expect 2 "--prefix" explain cascade --model llama-3.1-8b --gpu h100-sxm --prefix 8k --context 4k
expect 2 "--gpu is missing" explain cascade --model llama-3.1-8b
expect 0 "letters: blocks of one request" run "$quickstart" --set memory.kv_blocks=500 --set trace.limit=20 --memory-map
expect 0 "4 sequences a request share" run "$quickstart" --set sampling.n=4 --set trace.limit=20
expect 0 "pages mapped" run "$quickstart" --set memory.allocator=vmm --set trace.limit=20
expect 0 "0 rejected" run "$quickstart" --set memory.prefix_cache=radix --set memory.block_tokens=1 --set trace.limit=20
expect 2 "sampling.n" run "$quickstart" --set sampling.n=4 --set memory.allocator=vmm
expect 2 "page_kib" run "$quickstart" --set memory.allocator=vmm --set memory.kv_blocks=9
expect 2 "survival" run "$quickstart" --set sampling.survival=1.5
expect 0 "capacity ends the batch" explain kv --model llama-3.1-8b --context 32k --compare base,mqa+cla-2+kivi-4
expect 0 "decode_tokens_s" explain kv --model llama-3.1-8b --context 4k,32k --batch 1,8 --compare base --json
expect 2 "did you mean 'mqa'" explain kv --model llama-3.1-8b --compare mqq
expect 2 "expected FIRST-LAST" explain kv --model llama-3.1-8b --layers 8-40
expect 0 "published 5.02x" explain kv-claims
expect 0 "5.86 GB/s" explain tier --model llama-3.1-70b --gpu a800-sxm --tp 8 --context 8k
expect 0 "18.57 GB/s" explain tier --model llama-3.1-70b --gpu h800-sxm --tp 8 --context 8k --tflops 989
expect 0 '"mooncake_eq2"' explain tier --model llama-3.1-70b --gpu h100-sxm --tp 4 --context 32k --link rdma-400g --json
expect 2 "did you mean 'rdma-400g'" explain tier --model llama-3.1-8b --gpu h100-sxm --link rdma-40g
expect 2 "--gpu is missing" explain tier --model llama-3.1-8b
expect 2 "expected at least 1" explain tier --model llama-3.1-8b --gpu h100-sxm --context 0
expect 2 "expected at least 1" explain swap --model llama-3.1-8b --gpu h100-sxm --context 0
# Latents of MLA are one per rank: eight times 274.5 MiB move.
expect 0 "2.14 GiB" explain tier --model deepseek-v3 --gpu h100-sxm --tp 8 --context 4k
expect 0 "recompute" explain swap --model opt-13b --gpu a100-sxm-40g --engine vllm-0.6 --context 512
expect 2 "expected block or layer" explain swap --model opt-13b --gpu a100-sxm-40g --copy-unit page
expect 0 "pcie5-h100" list tiers
expect 0 '"host link (auto)"' run "$quickstart" --json --set memory.preemption=swap --set memory.kv_blocks=600
expect 0 "GB/s" run "$quickstart" --set "memory.tiers=[{name: host, capacity_gib: 20}]"
expect 2 "holds no block" run "$quickstart" --set "memory.tiers=[{name: host, capacity_gib: 0.0001}]"
expect 2 "read_gb_s" run "$quickstart" --set memory.preemption=swap --set memory.host_link=pcie4-a100 --set memory.host_link.read_gb_s=0
expect 2 "--model is missing" explain kv
expect 0 "local-K-W" list shapes
expect 0 '"hbm_read_bytes"' kernel attention-flash --gpu h100-sxm --heads 16 --q-len 4k --causal --json
expect 0 "memory-bound" kernel attention-decode --gpu a100-sxm-80g --batch 64 --heads 32 --kv-heads 8 --kv-len 8k
expect 0 "gpt-oss-20b full (12 layers, fp8)" kernel attention-decode --model gpt-oss-20b --group full --kv-dtype fp8 --kv-len 8k
expect 0 "1 of 4 heads" kernel attention-decode --model llama-3.1-8b --tp 8 --kv-len 8k --paged
expect 2 "expected one of local, full" kernel attention-decode --model gpt-oss-20b --kv-len 8k
expect 2 "latents" kernel attention-decode --model deepseek-v3 --kv-len 8k
expect 2 "converts it" kernel attention-decode --model llama-3.1-8b --kv-dtype kivi-2 --kv-len 8k
expect 0 '"l2_hit_ratio": 0' kernel attention-standard --gpu a100-sxm-80g --heads 2 --q-len 512 --l2 off --json
expect 0 "compute-bound" kernel gemm --gpu h100-sxm --m 8192 --n 8192 --k 8192
expect 0 "clusters share loads by multicast" kernel gemm --gpu h100-sxm --m 8192 --n 8192 --k 8192
expect 0 "memory-bound" kernel copy --gpu l40s --bytes 512M
expect 0 "kernels:" kernel gemm --m 256 --n 256 --k 256 --out "$scratch/sms.json"
grep -q traceEvents "$scratch/sms.json" || { failed=$((failed + 1)); echo "FAILED  a timeline of the SMs"; }
expect 2 "did you mean 'fa3'" kernel attention-flash --q-len 64 --impl fa33
expect 2 "does not divide" kernel attention-flash --q-len 64 --heads 6 --kv-heads 4

# Ctrl-C: what finished is written, exit 130. In the foreground, as else `timeout` interrupts twice, itself and by
# its process group, and a second interrupt ends the program where it stands.
awk 'BEGIN { print "request_id,arrival_s,input_tokens,output_tokens"; for (i = 0; i < 400000; ++i) print i "," i * 0.001 ",4000,900" }' >"$scratch/long.csv"
timeout --foreground --preserve-status --signal=INT 1 "$program" run "$quickstart" --trace "$scratch/long.csv" --set memory.prefix_cache=off \
  --set engine.profile.graphs.max_tokens=512 --out "$scratch/part" --quiet
code=$?
tests=$((tests + 1))
if [[ $code == 130 ]]; then
  grep -q '"interrupted": true' "$scratch/part/summary.json" || { failed=$((failed + 1)); echo "FAILED  an interrupted run says so"; }
elif [[ $code != 0 ]]; then
  failed=$((failed + 1))
  echo "FAILED  an interrupt: exit $code, expected 130"
fi

echo "$tests tests, $failed failed"
[[ $failed == 0 ]]
