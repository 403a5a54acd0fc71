#!/usr/bin/env bash
# Builds `shoal` as the bootstrap of a Lambda function: for Linux with glibc 2.34, the one of provided.al2023, whatever
# this machine has. Zig is the C compiler and linker, since it brings the stubs of every glibc.
#
#   bash deploy/build-bootstrap.sh [x86_64|arm64]     (default: x86_64)
#
# Needs cargo and Python 3 with venv. The tools go into a venv under the target folder. Prints the path of the result
# and the highest version of glibc that it asks for. For arm64, the target's standard library must be installed:
# rustup target add aarch64-unknown-linux-gnu
set -euo pipefail
cd "$(dirname "$0")/.."

ZIGBUILD=0.24.1
ZIG=0.17.1
GLIBC=2.34

case "${1:-x86_64}" in
  x86_64) target=x86_64-unknown-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu ;;
  *) echo "error: failed to build for $1: there are x86_64 and arm64" >&2; exit 2 ;;
esac
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
  echo "error: failed to build for $target: its standard library is missing; rustup target add $target installs it" >&2
  exit 1
fi

folder="${CARGO_TARGET_DIR:-target}"
tools="$folder/tools/zigbuild-$ZIGBUILD-$ZIG"
if [ ! -e "$tools/complete" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "cargo-zigbuild==$ZIGBUILD" "ziglang==$ZIG"
  touch "$tools/complete"
fi

# Symbols are of no use there, and half of the file.
CARGO_PROFILE_RELEASE_STRIP=symbols PATH="$(cd "$tools/bin" && pwd):$PATH" cargo zigbuild --release --locked --bin shoal --target "$target.$GLIBC"

result="$folder/$target/release/shoal"
highest="$(grep -aoE 'GLIBC_2\.[0-9]+' "$result" | sort -uV | tail -1)"
echo "$result ($(stat -c %s "$result") bytes, names ${highest#GLIBC_} as its highest glibc)"
