#!/bin/sh
# Fuzzes one target after another, each for SECONDS: run_all.sh SECONDS [TARGET…]
# NO_BUILD=1 reuses the last build. Each run is logged in $FUZZ_LOG (fuzz/log), one line per target:
# start, seconds, executions, edges, and the exit status, which is not 0 if something was found.
set -eu
cd "$(dirname "$0")"
seconds=${1:?usage: run_all.sh SECONDS [TARGET…]}
shift
[ $# -gt 0 ] || set -- csv jsonl parquet arrow safetensors config tokenizer modules job receipts invocation \
    http prices whole_model packed_model
[ -d corpus ] || [ ! -f corpus.tar.xz ] || tar -xJf corpus.tar.xz
log=${FUZZ_LOG:-log}
mkdir -p "$log"
# Targets create many small files.
if [ -z "${TMPDIR:-}" ] && [ -d /dev/shm ]; then
    TMPDIR=$(mktemp -d /dev/shm/fuzz.XXXXXX)
    export TMPDIR
    trap 'rm -rf "$TMPDIR"' EXIT
fi
[ -n "${NO_BUILD:-}" ] || cargo +nightly fuzz build --fuzz-dir .
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-target}/$host/release
# The same options as cargo-fuzz.
export ASAN_OPTIONS="detect_odr_violation=0:allocator_may_return_null=1"
for target; do
    corpus=corpus/$target
    dictionary=json.dict
    length=8192
    case $target in
        packed_model) dictionary=packed_model.dict ;;
        tokenizer) length=16384 ;;
    esac
    mkdir -p "$corpus" "seeds/$target" "artifacts/$target"
    started=$(date +%s)
    output=$log/$target.$started
    status=0
    # A separate temporary folder, so that files of an aborted target are removed.
    mkdir -p "${TMPDIR:-/tmp}/$target"
    TMPDIR=${TMPDIR:-/tmp}/$target nice -n 19 "$built/$target" "$corpus" "seeds/$target" \
        -artifact_prefix="artifacts/$target/" -dict="$dictionary" -max_len=$length -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=4096 -timeout=25 \
        -print_final_stats=1 >"$output" 2>&1 || status=$?
    rm -rf "${TMPDIR:-/tmp}/$target"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$output" | tail -n 1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$output" | tail -n 1)
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "$started" "$(($(date +%s) - started))" "${executions:-?}" \
        "${edges:-?}" "$status" >>"$log/summary.tsv"
done
