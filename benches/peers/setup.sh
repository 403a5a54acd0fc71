#!/usr/bin/env bash
# setup.sh WORK: creates whatever is missing in the work folder: the Python environment, the models
# in each peer's format, the sequences, and the peers written in Rust. The first run takes about 20
# minutes and 8 GB of disk space, later runs take seconds. An existing classifier in WORK/model is
# used; otherwise one with the shape of DistilBERT-base is created.
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

# The peers may use every feature of this CPU.
CARGO_TARGET_DIR=$work/target RUSTFLAGS="-C target-cpu=native" \
  cargo build -q --release --locked --manifest-path "$here/Cargo.toml"
