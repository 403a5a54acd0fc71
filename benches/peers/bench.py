"""Compares the speed of shoal and its peers on one core. run.sh builds everything and calls it.

    python bench.py WORK [--rounds N] [--sequences N] [OPTION...]

First it compares the logits of shoal and all peers. Then every round measures the core's peak rates and runs each
program once, on one thread and one sequence at a time, in an order that rotates from round to round. Finally it
measures the time from the start of a process to its first label. Raw results are JSON Lines, which summary.py reads.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import summary

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"

TOLERANCE = 1e-4  # of f32 logits
SHOAL = ["shoal-f32", "shoal-int8"]
PEERS = ["ctranslate2-int8", "onnxruntime-int8", "rten-int8", "ctranslate2-f32", "onnxruntime-f32", "rten-f32"]
FIRST_LABEL_PEERS = ["rten-int8", "onnxruntime-int8", "ctranslate2-int8", "transformers-f32"]
FIRST_LABELS = [
    "shoal-int8={shoal} run {csv} -o {out} --model {packed} --run-dir {run} --concurrency 1 --quiet",
    "shoal-bundled-int8={shoal} run {csv} -o {out} --run-dir {run} --concurrency 1 --quiet",
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("work", type=Path, help="the folder that setup.sh set up")
    add("--rounds", type=int, default=5, metavar="N", help="number of rounds [%(default)s]")
    add("--sequences", type=int, default=48, metavar="N", help="sequences to time, spread evenly over the file [48]")
    add("--sequences-file", type=Path, metavar="FILE", help="JSON array of arrays of token ids [WORK/sequences.json]")
    add("--model", type=Path, help="the model for shoal, with the same weights [WORK/model]")
    add("--shoal", type=Path, default=BUILT / "shoal", help="the shoal program [target/release/shoal]")
    add("--peers", default=",".join(PEERS), help="also available: candle-f32, transformers-f32 [%(default)s]")
    add("--core", default="0", metavar="N", help="CPU core to run on [%(default)s]")
    add("--first-labels", type=int, default=5, metavar="N", help="first-label measurements per process, 0 for none [5]")
    add(
        "--first-label",
        action="append",
        metavar="NAME=COMMAND",
        help="command with which shoal labels a text; may be repeated [the packed model in int8, and the bundled one]",
    )
    add("--output", type=Path, help="file for the raw results [benches/runs/peers-TIME.jsonl]")
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.sequences_file = options.sequences_file or options.work / "sequences.json"
    options.model = options.model or options.work / "model"
    options.first_label = options.first_label or FIRST_LABELS
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.sequences = json.loads(options.sequences_file.read_text())
        # Evenly spaced over the file, the same for every runtime.
        count = min(options.sequences or len(self.sequences), len(self.sequences))
        step = len(self.sequences) / count
        self.chosen = [self.sequences[int((k + 0.5) * step)] for k in range(count)]
        self.chosen_file = tempfile.NamedTemporaryFile("w", prefix="sequences-", suffix=".json")
        json.dump(self.chosen, self.chosen_file)
        self.chosen_file.flush()
        self.model_config = json.loads((options.work / "model/config.json").read_text())
        # Variables that select OpenBLAS kernels would slow down peers whose numpy or torch uses OpenBLAS.
        drop = ("OPENBLAS_", "SHOAL_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(drop)} | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "RAYON_NUM_THREADS": "1",
            "RTEN_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        output = options.output or ROOT / f"benches/runs/peers-{now():%Y%m%dT%H%M%SZ}.jsonl"
        output.parent.mkdir(parents=True, exist_ok=True)
        self.output = output.open("x")

    def command(self, name):
        runtime, precision = name.rsplit("-", 1)
        work, options = self.options.work, self.options
        if runtime == "shoal":
            return [options.shoal, "bench", "--model", options.model, "--precision", precision, "--threads", "1"]
        if runtime == "rten":
            file = {"f32": "model.onnx", "int8": "model_int8.onnx"}[precision]
            return [work / "target/release/rten-peer", work / "onnx" / file]
        if name == "candle-f32":
            return [work / "target/release/candle-peer", work / "model"]
        return [sys.executable, "-B", HERE / "peers.py", work, runtime, precision]

    def run(self, command):
        """Runs a program on the core and returns the JSON lines that it prints."""
        command = ["taskset", "-c", self.options.core, *map(str, command)]
        result = subprocess.run(command, check=False, env=self.environment, capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{result.stderr}\n{shlex.join(command)} failed with exit code {result.returncode}")
        return [json.loads(line) for line in result.stdout.splitlines()]

    def write(self, kind, command, **values):
        line = {"kind": kind, "date": f"{now():%Y-%m-%dT%H:%M:%SZ}", "command": self.without_paths(command)}
        print(json.dumps(line | values), file=self.output, flush=True)

    def without_paths(self, command):
        """The command without paths of this machine."""
        text = shlex.join(map(str, command))
        text = text.replace(str(self.options.work), "WORK").replace(str(ROOT), ".")
        return re.sub(r"(?<![\w.])/(?:[^\s/]+/)+", "", text)

    def describe(self):
        options = self.options
        lock = (HERE / "Cargo.lock").read_text()
        crates = ("rten", "candle-core", "candle-transformers")
        lines = (HERE / "requirements.txt").read_text().splitlines()
        packages = [line.split("==")[0] for line in lines if "==" in line]
        first_cpu = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        cpu = dict(re.findall(r"^(.+?)\s*: (.*)$", first_cpu, re.MULTILINE))
        self.write(
            "machine",
            ["bash", "benches/peers/run.sh", "WORK", *sys.argv[2:]],
            cpu=f"{cpu.get('model name')}, family {cpu.get('cpu family')}, model {cpu.get('model')}",
            cores=os.cpu_count(),
            kernel=os.uname().release,
            commit=output_of("git", "-C", ROOT, "describe", "--always", "--dirty"),
            rustc=output_of("rustc", "--version"),
            versions={name: importlib.metadata.version(name) for name in packages}
            | {name: re.search(f'name = "{name}"\nversion = "(.*)"', lock)[1] for name in crates},
            sequences=len(self.sequences),
            tokens=sum(map(len, self.sequences)),
            sequences_sha256=hashlib.sha256(options.sequences_file.read_bytes()).hexdigest(),
            gflop_per_review=self.mean_work(self.sequences) / 1e9,
        )

    def mean_work(self, sequences):
        """Mean operations of the full model per sequence. Runtimes that skip some of them are credited with all."""
        config = self.model_config
        layers, hidden, inner = config["n_layers"], config["dim"], config["hidden_dim"]
        linear = 4 * hidden * hidden + 2 * hidden * inner
        operations = (layers * (2 * n * linear + 4 * n * n * hidden) for n in map(len, sequences))
        return sum(operations) / len(sequences)

    def compare_logits(self, names, count=4):
        reference = None
        for name in ["shoal-f32", *(n for n in names if n != "shoal-f32")]:
            command = [*self.command(name), "--sequences", self.options.sequences_file]
            command += ["--limit", count, "--logits"]
            logits = self.run(command)
            reference = reference or logits
            pairs = [pair for rows in zip(reference, logits, strict=True) for pair in zip(*rows, strict=True)]
            worst = max(abs(a - b) for a, b in pairs)
            largest = max(abs(b) for _, b in pairs)
            runtime, precision = name.rsplit("-", 1)
            self.write(
                "logits",
                command,
                runtime=runtime,
                precision=precision,
                sequences=len(logits),
                largest_difference=worst,
                largest_logit=largest,
            )
            if precision == "f32" and not worst <= TOLERANCE:
                sys.exit(f"logits of {name} differ by up to {worst:.1e} from those of shoal in f32: {logits}")

    def time_round(self, number, names):
        peak = self.run([BUILT / "examples/peak"])[-1]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            runtime, precision = name.rsplit("-", 1)
            command = [*self.command(name), "--sequences", self.chosen_file.name]
            command += ["--json"] * (runtime == "shoal")
            load = os.getloadavg()[0]
            result = self.run(command)[-1]
            expected = {"threads": 1, "sequences": len(self.chosen), "tokens": sum(map(len, self.chosen))}
            done = {key: result.get(key) for key in expected}
            if done != expected:
                sys.exit(f"{name} was expected to process {expected}, but processed {done}")
            # Scales the rate from the chosen sequences to the mean length of the whole file.
            share = self.mean_work(self.chosen) / self.mean_work(self.sequences)
            # Omits the model's path, and shoal's own peak rates, because those measured above are written.
            result = {key: value for key, value in result.items() if key not in ("peak", "model")}
            values = {"runtime": runtime, "precision": precision, "round": number} | result
            for clock in ("cpu", "wall"):
                values[f"reviews_per_s_{clock}"] = result[f"records_per_s_{clock}"] * share
            self.write("speed", command, **values, load_before=load, peak=peak)
            print(f"round {number}: {name} {values['reviews_per_s_cpu']:.2f} reviews/s", file=sys.stderr)

    def time_first_labels(self):
        """Measures processes that produce one label: peers from token ids, shoal from a CSV file."""
        # In BERT's vocabulary: this film was wonderful and i love everything about it
        short = [101, 2023, 2143, 2001, 6919, 1998, 1045, 2293, 2673, 2055, 2009, 102]
        review = next(s for s in self.sequences if 225 <= len(s) <= 235)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for repetition in range(self.options.first_labels + 1):
                for text, ids in (("short", short), ("review", review)):
                    for name, command in self.first_label_commands(folder / f"{repetition}-{text}", ids):
                        runtime, precision = name.rsplit("-", 1)
                        result = self.run([sys.executable, "-I", HERE / "spawn.py", *command])[-1]
                        if repetition == 0:
                            continue  # This repetition only loads the files into the page cache.
                        values = {"runtime": runtime, "precision": precision, "round": repetition}
                        values |= {"text": text, "tokens": len(ids)} | result
                        self.write("first_label", command, **values)

    def first_label_commands(self, folder, ids):
        folder.mkdir()
        one = folder / "one.json"
        one.write_text(json.dumps([ids]))
        for name in FIRST_LABEL_PEERS:
            yield name, [*self.command(name), "--sequences", one, "--logits"]
        csv = folder / "one.csv"
        csv.write_text(f"text\n{self.as_text(ids)}\n")
        for number, named in enumerate(self.options.first_label):
            name, command = named.split("=", 1)
            paths = {
                "shoal": self.options.shoal,
                "model": self.options.model,
                "packed": self.options.work / "model.shoal",
                "csv": csv,
                "out": folder / f"out-{number}.csv",
                "run": folder / f"run-{number}",
            }
            yield name, [part.format(**paths) for part in shlex.split(command)]

    def as_text(self, ids):
        """A text with these tokens, without [CLS] and [SEP]; exact for the model that setup.sh creates."""
        tokenizer = json.loads((self.options.work / "model/tokenizer.json").read_text())
        words = {id: word for word, id in tokenizer["model"]["vocab"].items()}
        return " ".join(words[id] for id in ids[1:-1]).replace(" ##", "")


def now():
    return datetime.datetime.now(datetime.UTC)


def output_of(*command):
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def main():
    options = arguments()
    bench = Bench(options)
    bench.describe()
    names = [*options.peers.split(","), *SHOAL]
    bench.compare_logits(names)
    for number in range(options.rounds):
        bench.time_round(number, names)
    if options.first_labels:
        bench.time_first_labels()
    bench.output.close()
    print(bench.output.name, file=sys.stderr)
    print(summary.markdown([bench.output.name]))


if __name__ == "__main__":
    main()
