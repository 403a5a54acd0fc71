#!/usr/bin/env bash
# setup.sh WORK: fills the work folder with what is missing in it: the Python environment, the models in every peer's
# form, the sequences, and the peers written in Rust. Some 20 minutes and 8 GB the first time, seconds afterwards.
# A classifier of your own may lie in WORK/model beforehand; else one of DistilBERT-base shape is made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: setup.sh WORK}"
work=$(cd "$1" && pwd)

python=$work/venv/bin/python
if ! cmp -s "$here/requirements.txt" "$work/requirements.txt"; then
  [ -x "$python" ] || python3 -m venv "$work/venv"
  "$python" -m pip install -q -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$work/requirements.txt"
fi
HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error "$python" -B -W ignore "$here/make_models.py" "$work"

# Every peer may use all that this CPU has.
CARGO_TARGET_DIR=$work/target RUSTFLAGS="-C target-cpu=native" \
  cargo build -q --release --locked --manifest-path "$here/Cargo.toml"
