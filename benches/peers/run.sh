#!/usr/bin/env bash
# run.sh WORK [ROUNDS] [SEQUENCES] [CORE]: shoal against ONNX Runtime f32 on one core, in turn, with the
# core's rate of pure multiply-adds measured in the same minute.
#
# WORK is a folder that is filled the first time (a Python environment from PyPI, a model, its ONNX
# export: about 3 GB and some minutes). Before timing, the logits of both are compared. Raw results go
# to benches/runs/, a summary to the terminal. The core should have nothing else to do.
set -euo pipefail
work=${1:?usage: run.sh WORK [ROUNDS] [SEQUENCES] [CORE]}
rounds=${2:-5} sequences=${3:-48} core=${4:-0}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "$work" "$root/benches/runs"
work=$(cd "$work" && pwd)

# These choose kernels in some builds of numpy and torch and would handicap a peer.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export PYTHONDONTWRITEBYTECODE=1
python=$work/venv/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q torch==2.15.0 transformers==5.24.0 onnxruntime==1.32.0 onnx==1.23.2 onnxscript numpy
fi
"$python" "$here/prepare.py" "$work"

cd "$root"
cargo build --release -p shoal-encoder --example sequences -p shoal-kernels --example peak
built=${CARGO_TARGET_DIR:-target}/release/examples
shoal=("$built/sequences" "$work/model" "$work/wl_ids.i32" "$work/wl_lens.i32")

"$python" - <("${shoal[@]}" --logits) <("$python" "$here/onnxruntime_peer.py" "$work" --logits) <<'PYTHON'
import json, sys
ours, theirs = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
pairs = [(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
worst = max(abs(a - b) for a, b in pairs)
print(f"logits of {len(ours)} sequences differ by at most {worst:.1e}")
sys.exit(not pairs or not worst < 1e-4)
PYTHON

results=$root/benches/runs/peers-$(date -u +%Y%m%dT%H%M%SZ).jsonl
{
  echo "# $(uname -m), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(rustc --version)"
  echo "# bash benches/peers/run.sh WORK $rounds $sequences $core"
  echo "# $rounds rounds of $sequences sequences, one core, one thread"
} > "$results"
for _ in $(seq "$rounds"); do
  taskset -c "$core" "$built/peak" >> "$results"
  taskset -c "$core" "${shoal[@]}" --nseq "$sequences" --tokens 0 >> "$results"
  taskset -c "$core" "$python" "$here/onnxruntime_peer.py" "$work" --nseq "$sequences" >> "$results"
  taskset -c "$core" "${shoal[@]}" --nseq "$sequences" >> "$results"
done
echo "$results"
"$python" "$here/summary.py" "$results"
