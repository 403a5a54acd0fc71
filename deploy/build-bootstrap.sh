#!/usr/bin/env bash
# Builds `shoal` as the bootstrap of a Lambda function, for glibc 2.34, the version of provided.al2023.
#
#   bash deploy/build-bootstrap.sh [x86_64|arm64]     (default: x86_64)
set -euo pipefail
exec bash "$(dirname "$0")/build-linux.sh" "${1:-x86_64}" 2.34
