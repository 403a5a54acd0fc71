#!/usr/bin/env bash
# Emulates three hosts on one machine with network namespaces: a client, and two worker hosts that
# it reaches only by address. Runs the bundled sample with --backend http (TLS and bearer token) and
# with --backend array (three shares on two hosts), and compares the bytes with a local run. Needs
# root, iproute2, openssl, curl and a built shoal:
#
#     sudo tools/three_hosts.sh [SHOAL] [INPUT]
#
# The hosts share a folder, like the hosts of a cluster.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
shoal=${1:-$root/target/release/shoal}
input=${2:-$root/examples/reviews.csv}
work=$(mktemp -d)
export XDG_DATA_HOME=$work/data SHOAL_TOKEN=between-hosts-only
hosts=(shoal-client shoal-one shoal-two)
workers=()

cleanup() {
  for worker in "${workers[@]}"; do kill "$worker" 2> /dev/null || true; done
  wait
  for host in "${hosts[@]}"; do ip netns del "$host" 2> /dev/null || true; done
  ip link del shoal-bridge 2> /dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

ip link add shoal-bridge type bridge
ip link set shoal-bridge up
for number in 1 2 3; do
  host=${hosts[number - 1]}
  ip netns add "$host"
  ip link add "shoal-v$number" type veth peer name eth0 netns "$host"
  ip link set "shoal-v$number" master shoal-bridge up
  ip -n "$host" addr add "10.77.0.$number/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$host" link set lo up
done

# A token must not be sent unencrypted: each worker has a certificate for its address, issued by a
# temporary authority.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=three-hosts \
  -keyout "$work/ca.key" -out "$work/ca.pem" 2> /dev/null
for number in 2 3; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=10.77.0.$number" \
    -keyout "$work/$number.key" -out "$work/$number.csr" 2> /dev/null
  openssl x509 -req -in "$work/$number.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 1 -out "$work/$number.pem" \
    -extfile <(echo "subjectAltName=IP:10.77.0.$number") 2> /dev/null
done
export SSL_CERT_FILE=$work/ca.pem

"$shoal" run "$input" -o "$work/here.csv" --batch-size 10 --quiet

for number in 2 3; do
  ip netns exec "${hosts[number - 1]}" "$shoal" worker --http "10.77.0.$number:8080" --concurrency 1 --allow "$work" \
    --tls-cert "$work/$number.pem" --tls-key "$work/$number.key" &
  workers+=($!)
done
for number in 2 3; do
  until ip netns exec shoal-client curl -sf --cacert "$work/ca.pem" "https://10.77.0.$number:8080/ready" > /dev/null; do sleep 0.1; done
done
ip netns exec shoal-client "$shoal" run "$input" -o "$work/http.csv" --batch-size 10 --run-dir "$work/http" \
  --backend http --url https://10.77.0.2:8080,https://10.77.0.3:8080
cmp "$work/here.csv" "$work/http.csv"
environments=$(cat "$work"/http/receipts/*.json | grep -o '"environment":"[^"]*"' | sort | uniq -c)
printf 'http: same bytes; batches by environment:\n%s\n' "$environments"

ip netns exec shoal-client "$shoal" run "$input" -o "$work/array.csv" --batch-size 10 --run-dir "$work/array" \
  --backend array --detach
ip netns exec shoal-one "$shoal" worker --run "$work/array" --index 0 --of 3
ip netns exec shoal-two "$shoal" worker --run "$work/array" --index 1 --of 3
ip netns exec shoal-two "$shoal" worker --run "$work/array" --index 2 --of 3
ip netns exec shoal-client "$shoal" resume "$work/array" --quiet
cmp "$work/here.csv" "$work/array.csv"
echo 'array: same bytes'
