#!/usr/bin/env bash
# run.sh [ROUNDS] [CORE]: compares the engine's matrix product with gemm and rten-gemm on one core.
# Each round runs all of them and measures the core's peak rates. Raw results are written to
# benches/runs/.
set -euo pipefail
rounds=${1:-5} core=${2:-0}
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
cargo build --release --locked -p shoal-kernels --example peak
cargo build --release --locked --manifest-path benches/matrix_products/Cargo.toml
peak=${CARGO_TARGET_DIR:-target}/release/examples/peak
products=${CARGO_TARGET_DIR:-benches/matrix_products/target}/release/matrix-products
results=benches/runs/products-$(date -u +%Y%m%dT%H%M%SZ).jsonl
{
  echo "# $(uname -m), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(rustc --version)"
  echo "# bash benches/matrix_products/run.sh $rounds $core"
} > "$results"
for _ in $(seq "$rounds"); do
  taskset -c "$core" "$peak" >> "$results"
  taskset -c "$core" "$products" >> "$results"
done
echo "$results"
