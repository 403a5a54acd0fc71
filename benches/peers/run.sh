#!/usr/bin/env bash
# run.sh WORK [OPTION...]: sets up the peers in the folder WORK, builds shoal, and times them
# alternately on one core. The options are those of bench.py; see README.md. The machine should be
# otherwise idle.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: run.sh WORK [--rounds N] [--sequences N] [OPTION...]}
shift
"$here/setup.sh" "$work"
work=$(cd "$work" && pwd)

manifest=$here/../../Cargo.toml
cargo build -q --release --locked --manifest-path "$manifest" --bin shoal
cargo build -q --release --locked --manifest-path "$manifest" -p shoal-kernels --example peak
"${CARGO_TARGET_DIR:-$here/../../target}/release/shoal" pack "$work/model" -o "$work/model.shoal" --precision int8
exec "$work/venv/bin/python" -B "$here/bench.py" "$work" "$@"
