"""Runs real reviews on AWS APIs emulated by ministack on the loopback interface, and compares bytes.

    pip install ministack==1.5.33 boto3 zstandard
    cargo build --release
    python tools/check_cloud.py imdb-test.jsonl.zst

Starts from an empty account: deploys the function with the bundled model and a state machine, runs
the first 2,000 reviews at batch sizes 50, 333 and 1000 on this machine, on Lambda and on Step
Functions, compares the collected outputs, destroys the stack, and checks that nothing is left. There
is no network access outside the loopback interface. `--bootstrap` deploys another binary than the one
that deploys, such as the output of deploy/build-bootstrap.sh.
"""

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import boto3
import zstandard

ROOT = Path(__file__).resolve().parent.parent
STORE = "s3://lake/shoal"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("data")
    arguments.add_argument("--records", type=int, default=2000)
    arguments.add_argument("--shoal", default=str(ROOT / "target/release/shoal"))
    arguments.add_argument("--bootstrap", help="the binary that runs as the function")
    arguments.add_argument("--isa", default="avx2", help="instruction set of both sides")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cloud(Path(folder)) as cloud:
        sys.exit(not check(options, Path(folder), cloud))


class Cloud:
    """An emulated AWS with an empty account."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        self.folder = folder

    def __enter__(self):
        settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "LAMBDA_EXECUTOR": "local"}
        self.log = open(self.folder / "ministack.log", "wb")
        program = Path(sys.executable).with_name("ministack")
        self.process = subprocess.Popen(
            [program], cwd=self.folder, env=os.environ | settings, stdout=self.log, stderr=self.log
        )
        while True:
            try:
                urlopen(self.endpoint + "/_ministack/health").read()
                break
            except OSError:
                if self.process.poll() is not None:
                    sys.exit((self.folder / "ministack.log").read_text())
                time.sleep(0.05)
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1",
                               aws_access_key_id="test", aws_secret_access_key="test")
        self.s3.create_bucket(Bucket="lake")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def lines_of(path):
    if not path.endswith(".zst"):
        return open(path, encoding="utf-8", newline="\n")
    stream = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True)
    return io.TextIOWrapper(stream, encoding="utf-8", newline="\n")


def check(options, folder, cloud):
    reviews = folder / "reviews.jsonl"
    with reviews.open("w") as out:
        for line, _ in zip(lines_of(options.data), range(options.records)):
            out.write(line)
    environment = os.environ | cloud.variables | {"XDG_DATA_HOME": str(folder / "data")}

    def shoal(*args):
        command = [options.shoal, *map(str, args)]
        result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{command}: {result.returncode}\n{result.stderr}")
        return result.stdout

    deploy = ["deploy", "aws", "--store", STORE, "--state-machine", "--isa", options.isa]
    deploy += ["--env", f"AWS_ENDPOINT_URL={cloud.endpoint}", "--env", "AWS_ALLOW_HTTP=true"]
    if options.bootstrap:
        deploy += ["--bootstrap", options.bootstrap]
    shoal(*deploy)
    all_equal = True
    for size in (50, 333, 1000):
        outputs = {}
        for backend in ("local", "lambda", "step-functions"):
            output = folder / f"{backend}-{size}.csv"
            run = ["run", reviews, "-o", output, "--label-column", "label", "--batch-size", size]
            run += ["--isa", options.isa, "--json", "--quiet"]
            if backend != "local":
                run += ["--backend", backend, "--store", STORE, "--concurrency", 2]
            summary = json.loads(shoal(*run))
            outputs[backend] = output.read_bytes()
            equal = outputs[backend] == outputs["local"]
            all_equal &= equal
            print(f"batches of {size:4} {backend:14} {summary['batches']:3} batches, {summary['results']} labels, "
                  f"{summary['accuracy']['right']} right, {summary['seconds']:6.1f} s, "
                  f"{'same bytes' if equal else 'DIFFERENT BYTES'}", flush=True)
    print(shoal("destroy", "aws", "--store", STORE, "--yes").strip())
    left = [item["Key"] for item in cloud.s3.list_objects_v2(Bucket="lake").get("Contents", [])]
    left = [key for key in left if not key.startswith(("shoal/inputs/", "shoal/runs/"))]
    print(f"left in the account except inputs and runs: {left or 'nothing'}")
    return all_equal and not left


if __name__ == "__main__":
    main()
