#!/bin/sh
# nvcc.sh REPORT COMMAND...: runs nvcc. What ptxas says about registers and spills goes to REPORT, warnings and
# errors where they always go.
report=$1
shift
said=$("$@" 2>&1)
status=$?
# Lines of `ptxas -v`; the line before "Used" tells stack and spills.
printf '%s\n' "$said" | grep -E '^ptxas info|bytes stack frame' >"$report"
printf '%s\n' "$said" | grep -vE '^ptxas info|bytes stack frame|^$' >&2
exit $status
