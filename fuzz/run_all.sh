#!/bin/sh
# Fuzzes one target after the other, each for SECONDS: run_all.sh SECONDS [TARGET…]
# What was run is noted in $FUZZ_LOG (fuzz/log), a line a target: seconds, executions, edges, findings.
set -eu
cd "$(dirname "$0")"
seconds=${1:?usage: run_all.sh SECONDS [TARGET…]}
shift
[ $# -gt 0 ] || set -- csv jsonl parquet safetensors config tokenizer job receipts invocation http prices \
    whole_model packed_model
log=${FUZZ_LOG:-log}
mkdir -p "$log"
# Targets make many small files.
if [ -z "${TMPDIR:-}" ] && [ -d /dev/shm ]; then
    TMPDIR=$(mktemp -d /dev/shm/fuzz.XXXXXX)
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
fi
cargo +nightly fuzz build --fuzz-dir .
for target; do
    corpus=corpus/$target
    dictionary=json.dict
    length=8192
    case $target in
        packed_model) dictionary=packed_model.dict ;;
        tokenizer) length=16384 ;;
    esac
    mkdir -p "$corpus" "seeds/$target"
    started=$(date +%s)
    output=$log/$target.$started
    status=0
    # Its own folder for temporary files: what a target that was ended leaves behind goes with it.
    mkdir -p "${TMPDIR:-/tmp}/$target"
    TMPDIR=${TMPDIR:-/tmp}/$target nice -n 19 cargo +nightly fuzz run --fuzz-dir . "$target" "$corpus" "seeds/$target" -- \
        -dict="$dictionary" -max_len=$length -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=25 \
        -print_final_stats=1 >"$output" 2>&1 || status=$?
    rm -rf "${TMPDIR:-/tmp}/$target"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$output" | tail -n 1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$output" | tail -n 1)
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "$started" "$(($(date +%s) - started))" "${executions:-?}" \
        "${edges:-?}" "$status" >>"$log/summary.tsv"
done
