#!/usr/bin/env bash
# Simulated attention on what its fits have not seen: lengths, batches, head counts and other cards. Each fits
# several times, so they are disabled in the fast suite.
set -uo pipefail
tests=$2/tests/tessera_tests
[[ -x $tests ]] || { echo "the tests are not built: $tests"; exit 77; }
"$tests" --gtest_also_run_disabled_tests --gtest_filter='*AttentionHoldOuts*:AttentionTransfer*' --gtest_brief=1
