#!/usr/bin/env bash
# Builds `shoal` for Linux with a glibc version or newer, on any machine. Zig is the C compiler and linker because it ships
# stubs of every glibc version.
#
#   bash deploy/build-linux.sh x86_64|arm64 GLIBC     such as: x86_64 2.17
#
# Needs cargo and Python 3 with venv. The tools are installed in a venv in the target folder. Prints the path of the result,
# its size and the glibc version that it requires. For arm64, the standard library of the target must be installed: rustup
# target add aarch64-unknown-linux-gnu
set -euo pipefail
cd "$(dirname "$0")/.."

ZIGBUILD=0.24.1
ZIG=0.17.1

glibc=${2:?usage: build-linux.sh x86_64|arm64 GLIBC}
case "$1" in
  x86_64) target=x86_64-unknown-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu ;;
  *) echo "error: failed to build for $1: the architecture must be x86_64 or arm64" >&2; exit 2 ;;
esac
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
  echo "error: failed to build for $target: its standard library is missing; install it with: rustup target add $target" >&2
  exit 1
fi

folder="${CARGO_TARGET_DIR:-target}"
tools="$folder/tools/zigbuild-$ZIGBUILD-$ZIG"
if [ ! -e "$tools/complete" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "cargo-zigbuild==$ZIGBUILD" "ziglang==$ZIG"
  touch "$tools/complete"
fi

PATH="$(cd "$tools/bin" && pwd):$PATH" cargo zigbuild --release --locked --bin shoal --target "$target.$glibc" >&2

result="$folder/$target/release/shoal"
highest="$(grep -aoE 'GLIBC_2\.[0-9]+' "$result" | sort -uV | tail -1)"
echo "$result ($(stat -c %s "$result") bytes, requires glibc ${highest#GLIBC_})"
