"""Kills real runs again and again, at seeded moments, goes on each time, and compares what comes out with an undisturbed run.

    pip install ministack==1.5.33 boto3 zstandard
    cargo build --release
    python tools/kill_campaign.py OUTPUT.jsonl [--kills 200] [--places local,process,s3,http,lambda]

A place is a backend and where the run directory lies:

    local     threads, on this disk
    process   worker processes, on this disk
    s3        threads, on S3
    http      two HTTP workers, on S3
    lambda    a Lambda function, on S3

S3 and Lambda are played by ministack on the loopback. A chain is one run that is killed up to four times (SIGKILL), each time after
its start at a moment of one of three aims: `any` (anywhere in the time an undisturbed run takes), `plan` (before there is a plan), and
`collect` (while the output is written). What is killed is the command with all its workers, the command alone, or a worker alone, as
the place has them; then the same command goes on, or `shoal resume`. At the end of a chain output and dead letters must be the bytes
of the undisturbed run, with no temporary file left beside them.

A line a chain, with its kills, then a summary line. Exit code 1 where anything differed.
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
KILLS_A_CHAIN = 4
# Every run of a chain ends by then, even on a busy machine.
PATIENCE = 600
# The one instruction set that functions are deployed for, so that bytes can be compared.
ISA = "portable"

# Who may be killed: the command and all its workers, the command alone, one worker.
VICTIMS = {
    "local": ["all"],
    "process": ["all", "command", "worker"],
    "s3": ["all"],
    "http": ["command", "worker"],
    "lambda": ["command", "worker"],
}
# Inputs that are read where they lie, and inputs that are copied into the run directory.
SHAPES = {"jsonl": ("reviews.jsonl", "labels.csv"), "staged": ("reviews.csv.gz", "labels.parquet")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--kills", type=int, default=200, help="kills at each place")
    parser.add_argument("--places", default=",".join(VICTIMS))
    parser.add_argument("--records", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shoal", default=str(ROOT / "target/release/shoal"))
    options = parser.parse_args()
    options.shoal = os.path.abspath(options.shoal)
    with open(options.output, "w") as out:
        command = ["python", "tools/kill_campaign.py", "OUTPUT.jsonl", "--kills", options.kills, "--places", options.places]
        command += ["--records", options.records, "--seed", options.seed]
        write(out, {"command": " ".join(map(str, command))})
        ok = all([campaign(options, place, out) for place in options.places.split(",")])
    sys.exit(not ok)


def write(out, line):
    out.write(json.dumps(line) + "\n")
    out.flush()


def campaign(options, place, out):
    """Kills at one place until there are enough; tells whether all came out as it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # What is played answers more slowly than what it stands for.
        records = options.records // 4 if place in ("http", "lambda") else options.records
        write_inputs(folder, records)
        with Place(options, place, folder) as there:
            undisturbed = {shape: Undisturbed(there, shape) for shape in SHAPES}
            kills, counts, wrong, chains = 0, collections.Counter(), [], 0
            while kills < options.kills:
                seed = f"{options.seed}/{place}/{chains}"
                chain = Chain(there, undisturbed, seed, chains).play(options.kills - kills)
                chains += 1
                write(out, {"place": place, "seed": seed} | chain)
                for kill in chain["kills"]:
                    counts[f"victim {kill['victim']}"] += 1
                    if kill["victim"] != "worker":
                        counts[f"while {kill['phase']}"] += 1
                kills += len(chain["kills"])
                if chain["problems"]:
                    wrong.append(seed)
                print(f"{place}: {kills} kills in {chains} chains, {len(wrong)} wrong", flush=True)
            batches = {shape: whole.summary["batches"] for shape, whole in undisturbed.items()}
    write(out, {
        "place": place, "kills": kills, "chains": chains, "same_bytes": chains - len(wrong), "wrong": wrong,
        "counts": dict(sorted(counts.items())), "records": records, "batches": batches,
        "seconds": round(time.monotonic() - began, 1),
    })
    return not wrong


def write_inputs(folder, count):
    """The same records as JSON Lines and as compressed CSV, some of them bad in JSON Lines."""
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
        # An empty field is a null, which gets a dead letter.
        table.writerows((name, "" if row % 500 == 250 else text, stars) for row, (name, text, stars) in enumerate(rows))


class Place:
    """A backend with what it needs, and somewhere for run directories."""

    def __init__(self, options, name, folder):
        self.options, self.name, self.folder = options, name, folder
        self.on_s3 = name in ("s3", "http", "lambda")
        # By then a start has looked at its output and input.
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
            done = self.start(deploy, self.environment, stderr=subprocess.PIPE)
            _, said = done.communicate(timeout=PATIENCE)
            if done.returncode:
                sys.exit(f"deploy: {said.decode()}")
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
        """Starts the command with its own process group."""
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | streams
        words = [self.options.shoal, *map(str, words)]
        return subprocess.Popen(words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                                start_new_session=True, **streams)

    def start_workers(self):
        """Starts those HTTP workers that do not run, and waits until they listen."""
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
                        sys.exit("an HTTP worker does not start: " + (self.folder / "workers.log").read_text())
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

    def of_workers(self, command):
        """The processes that work for the command."""
        if self.workers:
            return [process.pid for _, process in self.workers]
        if self.name == "lambda":
            return [pid for pid in descendants(self.cloud.process.pid) if "bootstrap" in command_line(pid)]
        return descendants(command.pid)

    def files(self, name):
        """Names in a run directory."""
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

    def forget(self, name):
        """Makes room."""
        subprocess.run(["rm", "-rf", self.folder / name, self.folder / "runs" / name, self.folder / f"cache-{name}"], check=True)
        if self.on_s3:
            for file in self.files(name):
                self.cloud.s3.delete_object(Bucket="lake", Key=self.key(name, file))


class Undisturbed:
    """A run that nobody kills: what must come out, and how long its phases take."""

    def __init__(self, place, shape):
        name = f"whole-{shape}"
        (place.folder / name).mkdir()
        began = time.monotonic()
        process = place.start(place.command(shape, name), place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and not place.has(name, "job.json"):
            time.sleep(0.001)
        self.plan_seconds = time.monotonic() - began
        said, complained = process.communicate(timeout=PATIENCE)
        self.seconds = time.monotonic() - began
        if process.returncode:
            sys.exit(f"{place.name}: the undisturbed run ended with {process.returncode}: {complained.decode()}")
        self.summary = json.loads(said)
        self.output = (place.folder / name / SHAPES[shape][1]).read_bytes()
        self.letters = place.read(name, "failed.jsonl")
        assert self.letters, "some records are bad"


class Chain:
    """One run, its kills, and its end."""

    def __init__(self, place, undisturbed, seed, number):
        self.place, self.rng, self.name = place, random.Random(seed), f"chain-{number}"
        self.shape = self.rng.choice(list(SHAPES))
        self.whole = undisturbed[self.shape]
        self.outputs = place.folder / self.name
        # Of its own, so that packing the model is killed too.
        self.environment = place.environment | {"XDG_CACHE_HOME": str(place.folder / f"cache-{self.name}")}
        self.kills, self.problems, self.exits = [], [], []

    def play(self, most):
        self.outputs.mkdir()
        for _ in range(min(most, self.rng.randint(1, KILLS_A_CHAIN))):
            if not self.start_and_kill():
                break
        self.finish()
        result = {"shape": self.shape, "kills": self.kills, "exits": self.exits, "problems": self.problems}
        if self.problems:
            print(f"{self.name}: {self.problems}", flush=True)
        else:
            self.place.forget(self.name)
        return result

    def words(self):
        """The same command, or `resume` where there is something to go on with."""
        if self.kills and self.place.has(self.name, "job.json") and self.rng.random() < 0.5:
            return ["resume", self.place.run_dir(self.name), "--isa", ISA, "--json", "--quiet"]
        return self.place.command(self.shape, self.name)

    def start_and_kill(self):
        """Tells whether there is more to kill of this run."""
        victim = self.rng.choice(VICTIMS[self.place.name])
        aim = self.rng.choices(["any", "plan", "collect"], [0.6, 0.15, 0.25])[0]
        spans = {"any": self.whole.seconds, "plan": self.whole.plan_seconds, "collect": 0.02}
        delay = self.rng.random() * spans[aim]
        self.place.start_workers()
        command = self.place.start(self.words(), self.environment)
        began = time.monotonic()
        until = began + delay if aim != "collect" else None
        # Whether the output can be written is tried at the start, with a file that is gone at once.
        growing_since = None
        while command.poll() is None:
            now = time.monotonic()
            if until is None:
                growing_since = (growing_since or now) if self.temporaries() and now > began + self.place.start_seconds else None
                if growing_since and now > growing_since + 0.001:
                    until = now + delay
            elif now >= until:
                break
            # Spins, so that the moment is met.
        seconds = time.monotonic() - began
        pids = self.place.of_workers(command)
        if victim == "worker" and pids:
            chosen = [self.rng.choice(sorted(pids))]
        else:
            victim = "command" if victim == "worker" else victim
            chosen = [command.pid] + (pids if victim == "all" else [])
        for pid in chosen:
            kill(pid)
        if victim == "worker":
            # The command goes on without it.
            self.place.start_workers()
        code = command.wait(timeout=PATIENCE)
        if victim != "worker" and code != -signal.SIGKILL:
            # It had ended by itself.
            self.check_exit(code, "before it was killed")
            return False
        files = self.place.files(self.name)
        receipts = sum(file.startswith("receipts/") for file in files)
        phase = (
            "planning" if "job.json" not in files else "collecting" if self.temporaries()
            else "working" if receipts < self.whole.summary["batches"] else "verifying"
        )
        if victim == "worker":
            phase = "unknown"  # the command went on
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
        self.place.start_workers()
        command = self.place.start(self.words(), self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, complained = command.communicate(timeout=PATIENCE)
        if command.returncode:
            self.problems.append(f"exit code {command.returncode}: {complained.decode()}")
            return
        summary = json.loads(said)
        for counted in ("records", "results", "failed", "batches"):
            if summary[counted] != self.whole.summary[counted]:
                self.problems.append(f"{counted}: {summary[counted]}, not {self.whole.summary[counted]}")
        for what, found, expected in [
            ("output", (self.outputs / SHAPES[self.shape][1]).read_bytes(), self.whole.output),
            ("dead letters", self.place.read(self.name, "failed.jsonl"), self.whole.letters),
        ]:
            if found != expected:
                self.problems.append(f"{what}: {hashlib.sha256(found).hexdigest()}, not {hashlib.sha256(expected).hexdigest()}")
        if self.temporaries():
            self.problems.append(f"left beside the output: {self.temporaries()}")


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def descendants(pid):
    """The processes that `pid` has started, and those that they have."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            # The name before it may hold anything.
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
