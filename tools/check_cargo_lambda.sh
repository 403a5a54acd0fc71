#!/usr/bin/env bash
# Runs the bundled sample through `cargo lambda watch`, a third-party Invoke API that reports errors
# differently from AWS: errors of the function arrive as HTTP 500 without the header. Compares the
# bytes with a local run, then calls a function that has another model, which must end the run
# immediately.
#
#     pip install cargo-lambda==1.9.2      (installs the program cargo-lambda)
#     tools/check_cargo_lambda.sh [SHOAL] [CARGO_LAMBDA]
#
# All services listen on the loopback interface. The function runs on this machine and reads the run
# directory and the input directly.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
shoal=$(realpath "${1:-$root/target/release/shoal}")
cargo_lambda=$(realpath "$(command -v "${2:-cargo-lambda}")")
work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export XDG_DATA_HOME=$work/data
processes=()
cleanup() {
  for process in "${processes[@]}"; do kill "$process" 2> /dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT

# `cargo lambda` requires a package with a binary for each function.
mkdir -p "$work/package/src/bin"
printf '[package]\nname = "shoal"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' > "$work/package/Cargo.toml"
echo 'fn main() {}' | tee "$work/package/src/bin/shoal.rs" > "$work/package/src/bin/other.rs"
(cd "$work/package" && exec "$cargo_lambda" lambda watch --only-lambda-apis --invoke-address 127.0.0.1 --invoke-port "$port" > "$work/watch.log" 2>&1) &
processes+=($!)
until (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do sleep 0.1; done
ln -s "$shoal" "$work/bootstrap"
serve() { # name, then additional environment variables
  env "AWS_LAMBDA_RUNTIME_API=http://127.0.0.1:$port/.rt/$1" "AWS_LAMBDA_FUNCTION_NAME=$1" AWS_LAMBDA_FUNCTION_VERSION=1 \
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769 "${@:2}" "$work/bootstrap" > "$work/$1.log" 2>&1 &
  processes+=($!)
}
serve shoal
serve other "SHOAL_MODEL=$root/crates/encoder/tests/fixtures/distilbert-f32"
for name in shoal other; do
  # The status is 404 until the function has requested its first event, and then 500, because {} is
  # not an invocation.
  invoke=http://127.0.0.1:$port/2015-03-31/functions/$name/invocations
  until [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -d '{}' "$invoke")" = 500 ]; do sleep 0.1; done
done

export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_REGION=us-east-1
sample=$root/examples/reviews.csv
"$shoal" run "$sample" -o "$work/here.csv" --quiet
"$shoal" run "$sample" -o "$work/there.csv" --backend lambda --function shoal --concurrency 2 --run-dir "file://$work/run"
cmp "$work/here.csv" "$work/there.csv"
echo 'same bytes'

# A function with another model reports that as its own error and is not called again.
code=0
"$shoal" run "$sample" -o "$work/other.csv" --backend lambda --function other --run-dir "file://$work/other" 2> "$work/error" ||
  code=$?
cat "$work/error"
[ "$code" = 4 ] && grep -q fingerprint "$work/error" && ! grep -qE 'attempt [0-9]+ failed' "$work/error"
