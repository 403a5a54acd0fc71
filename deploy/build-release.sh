#!/usr/bin/env bash
# Makes what a release consists of, and tests it: a tarball for Linux on x86-64 with glibc 2.17 (CentOS 7, 2014) or newer,
# and its checksum. Where Docker runs, also an image with it.
#
#   bash deploy/build-release.sh [FOLDER]             (default: target/artifacts)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

artifacts=${1:-${CARGO_TARGET_DIR:-target}/artifacts}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=shoal-$version-x86_64-linux

built=$(bash deploy/build-linux.sh x86_64 2.17)
echo "$built"
rm -rf "$artifacts"
mkdir -p "$artifacts/$name"
cp "${built%% (*}" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT models/sentiment/NOTICE "$artifacts/$name/"
# Equal inputs give an equal tarball.
date=$(git log -1 --format=@%ct)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="$date" -C "$artifacts" -c "$name" | gzip -9n > "$artifacts/$name.tar.gz"
rm -r "${artifacts:?}/$name"
(cd "$artifacts" && sha256sum "$name.tar.gz" > SHA256SUMS)

# The tarball as a user gets it, in an empty environment.
test=$(mktemp -d)
trap 'rm -rf "$test"' EXIT
(cd "$artifacts" && sha256sum --check --quiet SHA256SUMS)
tar -xzf "$artifacts/$name.tar.gz" -C "$test"
run() {
  env -i HOME="$test" "$test/$name/shoal" "$@"
}
[ "$(run --version)" = "shoal $version" ]
run run "$root/examples/reviews.csv" -o "$test/labels.csv" --quiet
[ "$(wc -l < "$test/labels.csv")" = 201 ]
[ "$(sed -n 2p "$test/labels.csv" | cut -d, -f1,2)" = r001,POSITIVE ]

if docker info > /dev/null 2>&1; then
  docker build --quiet --tag "shoal:$version" --build-arg "NAME=$name" --file deploy/Dockerfile "$artifacts"
  docker run --rm --volume "$root/examples:/data:ro" "shoal:$version" run /data/reviews.csv -o - --quiet > "$test/docker.csv"
  cmp "$test/labels.csv" "$test/docker.csv"
fi
ls -l "$artifacts"
