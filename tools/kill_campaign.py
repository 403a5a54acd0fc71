"""Kills real runs repeatedly at seeded moments, resumes them, and compares the output with an undisturbed run.

    pip install ministack==1.5.33 boto3 zstandard
    cargo build --release
    python tools/kill_campaign.py OUTPUT.jsonl [--kills 200] [--setups local,process,s3,http,lambda]

A setup is a backend and a storage location of the run directory:

    local     threads, on this disk
    process   worker processes, on this disk
    s3        threads, on S3
    http      two HTTP workers, on S3
    lambda    a Lambda function, on S3

ministack emulates S3 and Lambda on the loopback interface. A chain is one run that is killed up to four times (SIGKILL), each
time after a delay with one of three aims: `any` (any moment within the duration of an undisturbed run), `plan` (before the plan is
written), and `collect` (while the output is written). The victim is the command with all its workers, only the command, or one
worker, depending on the setup. Then the same command, or `shoal resume`, resumes the run. At the end of a chain the output and the
dead letters must be byte-identical to those of the undisturbed run, without leftover temporary files.

Writes one line per chain with its kills, then a summary line. The exit code is 1 if anything differed.
"""

import argparse
import collections
import csv
import gzip
import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_cloud import ROOT, STORE, Cloud

MODEL = ROOT / "crates/encoder/tests/fixtures/distilbert-f32"
BATCH_SIZE = 20
KILLS_PER_CHAIN = 4
# Time limit for every run of a chain, even on a busy machine.
TIMEOUT = 600
# The instruction set of all functions and runs, so that bytes can be compared.
ISA = "portable"

# What may be killed: the command and all its workers, only the command, or one worker.
VICTIMS = {
    "local": ["all"],
    "process": ["all", "command", "worker"],
    "s3": ["all"],
    "http": ["command", "worker"],
    "lambda": ["command", "worker"],
}
# Inputs that are read in place, and inputs that are staged in the run directory.
SHAPES = {"jsonl": ("reviews.jsonl", "labels.csv"), "staged": ("reviews.csv.gz", "labels.parquet")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--kills", type=int, default=200, help="number of kills per setup")
    parser.add_argument("--setups", default=",".join(VICTIMS))
    parser.add_argument("--records", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shoal", default=str(ROOT / "target/release/shoal"))
    options = parser.parse_args()
    options.shoal = os.path.abspath(options.shoal)
    with open(options.output, "w") as out:
        command = ["python", "tools/kill_campaign.py", "OUTPUT.jsonl", "--kills", options.kills, "--setups", options.setups]
        command += ["--records", options.records, "--seed", options.seed]
        write(out, {"command": " ".join(map(str, command))})
        ok = all([campaign(options, setup, out) for setup in options.setups.split(",")])
    sys.exit(not ok)


def write(out, line):
    out.write(json.dumps(line) + "\n")
    out.flush()


def campaign(options, setup, out):
    """Kills runs at one setup until there are enough kills; returns whether every result was correct."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # Emulated services respond more slowly than real ones.
        records = options.records // 4 if setup in ("http", "lambda") else options.records
        write_inputs(folder, records)
        with Setup(options, setup, folder) as there:
            undisturbed = {shape: Undisturbed(there, shape) for shape in SHAPES}
            kills, counts, wrong, chains = 0, collections.Counter(), [], 0
            while kills < options.kills:
                seed = f"{options.seed}/{setup}/{chains}"
                chain = Chain(there, undisturbed, seed, chains).run(options.kills - kills)
                chains += 1
                write(out, {"setup": setup, "seed": seed} | chain)
                for kill in chain["kills"]:
                    counts[f"victim {kill['victim']}"] += 1
                    if kill["victim"] != "worker":
                        counts[f"while {kill['phase']}"] += 1
                kills += len(chain["kills"])
                if chain["problems"]:
                    wrong.append(seed)
                print(f"{setup}: {kills} kills in {chains} chains, {len(wrong)} wrong", flush=True)
            batches = {shape: whole.summary["batches"] for shape, whole in undisturbed.items()}
    write(out, {
        "setup": setup, "kills": kills, "chains": chains, "same_bytes": chains - len(wrong), "wrong": wrong,
        "counts": dict(sorted(counts.items())), "records": records, "batches": batches,
        "seconds": round(time.monotonic() - began, 1),
    })
    return not wrong


def write_inputs(folder, count):
    """Writes the same records as JSON Lines, with some invalid lines, and as compressed CSV."""
    words = ["good", "bad", "film", "plot", "the", "a", "not", "ending", "slow", "loved"]
    rng = random.Random(7)
    rows = [(f"r{row}", " ".join(rng.choices(words, k=rng.randint(1, 40))), rng.randrange(10)) for row in range(count)]
    with open(folder / "reviews.jsonl", "w") as lines:
        for row, (name, text, stars) in enumerate(rows):
            lines.write(json.dumps({"id": name, "text": text, "stars": stars}) + "\n")
            if row % 500 == 250:
                lines.write('{"id": "no text"}\nno JSON\n')
    with gzip.open(folder / "reviews.csv.gz", "wt", newline="") as packed:
        table = csv.writer(packed)
        table.writerow(["id", "text", "stars"])
        # An empty field is null and becomes a dead letter.
        table.writerows((name, "" if row % 500 == 250 else text, stars) for row, (name, text, stars) in enumerate(rows))


class Setup:
    """A backend with its services, and a location for run directories."""

    def __init__(self, options, name, folder):
        self.options, self.name, self.folder = options, name, folder
        self.on_s3 = name in ("s3", "http", "lambda")
        # Time after which a run has checked its input and output.
        self.start_seconds = 0.2 if self.on_s3 else 0.05
        self.cloud, self.workers, self.log = None, [], None
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder / "home"), "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def __enter__(self):
        self.log = open(self.folder / "workers.log", "wb")
        if self.on_s3:
            self.cloud = Cloud(self.folder).__enter__()
            self.environment |= self.cloud.variables | {"AWS_ALLOW_HTTP": "true"}
        if self.name == "lambda":
            deploy = ["deploy", "aws", "--store", STORE, "--isa", ISA, "--model", MODEL]
            deploy += ["--env", f"AWS_ENDPOINT_URL={self.cloud.endpoint}", "--env", "AWS_ALLOW_HTTP=true"]
            process = self.start(deploy, self.environment, stderr=subprocess.PIPE)
            _, stderr = process.communicate(timeout=TIMEOUT)
            if process.returncode:
                sys.exit(f"deploy: {stderr.decode()}")
        if self.name == "http":
            for _ in range(2):
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    self.workers.append([free.getsockname()[1], None])
            self.start_workers()
        return self

    def __exit__(self, *_):
        for _, process in self.workers:
            process.kill()
            process.wait()
        if self.cloud:
            self.cloud.__exit__()
        self.log.close()

    def start(self, words, environment, **streams):
        """Starts shoal in a separate process group."""
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | streams
        words = [self.options.shoal, *map(str, words)]
        return subprocess.Popen(words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                                start_new_session=True, **streams)

    def start_workers(self):
        """Starts the HTTP workers that are not running, and waits until they listen."""
        for worker in self.workers:
            if worker[1] and worker[1].poll() is None:
                continue
            words = ["worker", "--http", f"127.0.0.1:{worker[0]}", "--concurrency", 1]
            worker[1] = self.start(words, self.environment, stderr=self.log)
            while True:
                try:
                    socket.create_connection(("127.0.0.1", worker[0])).close()
                    break
                except OSError:
                    if worker[1].poll() is not None:
                        sys.exit("an HTTP worker failed to start: " + (self.folder / "workers.log").read_text())
                    time.sleep(0.01)

    def run_dir(self, name):
        return f"{STORE}/runs/{name}" if self.on_s3 else str(self.folder / "runs" / name)

    def command(self, shape, name):
        source, output = SHAPES[shape]
        words = ["run", source, "-o", f"{name}/{output}", "--run-dir", self.run_dir(name), "--batch-size", BATCH_SIZE]
        words += ["--text-column", "text", "--keep-columns", "stars", "--model", MODEL, "--precision", "int8", "--isa", ISA]
        words += ["--concurrency", 2, "--json", "--quiet"]
        backend = "local" if self.name == "s3" else self.name
        words += ["--backend", backend]
        if self.workers:
            words += ["--url", ",".join(f"http://127.0.0.1:{port}" for port, _ in self.workers)]
        return words

    def worker_pids(self, command):
        """The worker processes of the command."""
        if self.workers:
            return [process.pid for _, process in self.workers]
        if self.name == "lambda":
            return [pid for pid in descendants(self.cloud.process.pid) if "bootstrap" in command_line(pid)]
        return descendants(command.pid)

    def files(self, name):
        """The names of the files in a run directory."""
        if not self.on_s3:
            top = Path(self.run_dir(name))
            return [str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()]
        prefix = self.key(name, "")
        pages = self.cloud.s3.get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=prefix)
        return [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", [])]

    def key(self, name, file):
        return f"{self.run_dir(name)}/{file}".removeprefix("s3://lake/")

    def has(self, name, file):
        if not self.on_s3:
            return (Path(self.run_dir(name)) / file).exists()
        found = self.cloud.s3.list_objects_v2(Bucket="lake", Prefix=self.key(name, file), MaxKeys=1)
        return found["KeyCount"] > 0

    def read(self, name, file):
        if not self.on_s3:
            return (Path(self.run_dir(name)) / file).read_bytes()
        return self.cloud.s3.get_object(Bucket="lake", Key=self.key(name, file))["Body"].read()

    def remove(self, name):
        """Deletes the files of a run to free space."""
        subprocess.run(["rm", "-rf", self.folder / name, self.folder / "runs" / name, self.folder / f"cache-{name}"], check=True)
        if self.on_s3:
            for file in self.files(name):
                self.cloud.s3.delete_object(Bucket="lake", Key=self.key(name, file))


class Undisturbed:
    """A run without kills: the expected output, and the duration of its phases."""

    def __init__(self, setup, shape):
        name = f"whole-{shape}"
        (setup.folder / name).mkdir()
        began = time.monotonic()
        process = setup.start(setup.command(shape, name), setup.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and not setup.has(name, "job.json"):
            time.sleep(0.001)
        self.plan_seconds = time.monotonic() - began
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        self.seconds = time.monotonic() - began
        if process.returncode:
            sys.exit(f"{setup.name}: the undisturbed run ended with {process.returncode}: {stderr.decode()}")
        self.summary = json.loads(stdout)
        self.output = (setup.folder / name / SHAPES[shape][1]).read_bytes()
        self.letters = setup.read(name, "failed.jsonl")
        assert self.letters, "some records are invalid"


class Chain:
    """One run and its kills."""

    def __init__(self, setup, undisturbed, seed, number):
        self.setup, self.rng, self.name = setup, random.Random(seed), f"chain-{number}"
        self.shape = self.rng.choice(list(SHAPES))
        self.whole = undisturbed[self.shape]
        self.outputs = setup.folder / self.name
        # A separate cache, so that packing the model can be killed too.
        self.environment = setup.environment | {"XDG_CACHE_HOME": str(setup.folder / f"cache-{self.name}")}
        self.kills, self.problems, self.exits = [], [], []

    def run(self, max_kills):
        self.outputs.mkdir()
        for _ in range(min(max_kills, self.rng.randint(1, KILLS_PER_CHAIN))):
            if not self.start_and_kill():
                break
        self.finish()
        result = {"shape": self.shape, "kills": self.kills, "exits": self.exits, "problems": self.problems}
        if self.problems:
            print(f"{self.name}: {self.problems}", flush=True)
        else:
            self.setup.remove(self.name)
        return result

    def words(self):
        """The same command, or `resume` if there is a plan."""
        if self.kills and self.setup.has(self.name, "job.json") and self.rng.random() < 0.5:
            return ["resume", self.setup.run_dir(self.name), "--isa", ISA, "--json", "--quiet"]
        return self.setup.command(self.shape, self.name)

    def start_and_kill(self):
        """Returns whether the run can be killed again."""
        victim = self.rng.choice(VICTIMS[self.setup.name])
        aim = self.rng.choices(["any", "plan", "collect"], [0.6, 0.15, 0.25])[0]
        spans = {"any": self.whole.seconds, "plan": self.whole.plan_seconds, "collect": 0.02}
        delay = self.rng.random() * spans[aim]
        self.setup.start_workers()
        command = self.setup.start(self.words(), self.environment)
        began = time.monotonic()
        until = began + delay if aim != "collect" else None
        # At the start the command checks that the output is writable, with a temporary file that it
        # deletes at once.
        growing_since = None
        while command.poll() is None:
            now = time.monotonic()
            if until is None:
                growing_since = (growing_since or now) if self.temporaries() and now > began + self.setup.start_seconds else None
                if growing_since and now > growing_since + 0.001:
                    until = now + delay
            elif now >= until:
                break
            # Busy-waits to hit the exact moment.
        seconds = time.monotonic() - began
        pids = self.setup.worker_pids(command)
        if victim == "worker" and pids:
            chosen = [self.rng.choice(sorted(pids))]
        else:
            victim = "command" if victim == "worker" else victim
            chosen = [command.pid] + (pids if victim == "all" else [])
        for pid in chosen:
            kill(pid)
        if victim == "worker":
            # The command continues without the worker.
            self.setup.start_workers()
        code = command.wait(timeout=TIMEOUT)
        if victim != "worker" and code != -signal.SIGKILL:
            # It exited before the kill.
            self.check_exit(code, "before it was killed")
            return False
        files = self.setup.files(self.name)
        receipts = sum(file.startswith("receipts/") for file in files)
        phase = (
            "planning" if "job.json" not in files else "collecting" if self.temporaries()
            else "working" if receipts < self.whole.summary["batches"] else "verifying"
        )
        if victim == "worker":
            phase = "unknown"  # the command continued
            self.exits.append(code)
            self.check_exit(code, "after a worker was killed")
        self.kills.append({"victim": victim, "aim": aim, "seconds": round(seconds, 4), "phase": phase, "receipts": receipts})
        return code != 0

    def check_exit(self, code, when):
        if code:
            self.problems.append(f"exit code {code} {when}")

    def temporaries(self):
        return [name for name in os.listdir(self.outputs) if name != SHAPES[self.shape][1]]

    def finish(self):
        self.setup.start_workers()
        command = self.setup.start(self.words(), self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stdout, stderr = command.communicate(timeout=TIMEOUT)
        if command.returncode:
            self.problems.append(f"exit code {command.returncode}: {stderr.decode()}")
            return
        summary = json.loads(stdout)
        for counted in ("records", "results", "failed", "batches"):
            if summary[counted] != self.whole.summary[counted]:
                self.problems.append(f"{counted}: {summary[counted]}, not {self.whole.summary[counted]}")
        for what, found, expected in [
            ("output", (self.outputs / SHAPES[self.shape][1]).read_bytes(), self.whole.output),
            ("dead letters", self.setup.read(self.name, "failed.jsonl"), self.whole.letters),
        ]:
            if found != expected:
                self.problems.append(f"{what}: {hashlib.sha256(found).hexdigest()}, not {hashlib.sha256(expected).hexdigest()}")
        if self.temporaries():
            self.problems.append(f"leftover temporary files: {self.temporaries()}")


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def descendants(pid):
    """All direct and indirect child processes of `pid`."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            # The process name in front of it may contain anything.
            children[int(stat.rsplit(")", 1)[1].split()[1])].append(int(entry))
    found, left = [], [pid]
    while left:
        below = children[left.pop()]
        found += below
        left += below
    return found


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
