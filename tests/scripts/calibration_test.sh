#!/usr/bin/env bash
# Fifty noisy tables a kernel, made by the models themselves: 95 % intervals cover the truth at least 90 % of the
# time and noise-free predictions are within 1 %. The fast suite does five of most.
set -uo pipefail
tests=$2/tests/tessera_tests
[[ -x $tests ]] || { echo "the tests are not built: $tests"; exit 77; }
TESSERA_CALIBRATION_SEEDS=50 "$tests" --gtest_filter='*Synthetic*' --gtest_brief=1
