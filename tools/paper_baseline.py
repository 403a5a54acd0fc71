"""Compares the paper's implementation with shoal: padded batches in PyTorch, on the same records and model, on one thread.

Alternates both and writes the file that `shoal compare --paper-baseline` reads.

    python tools/paper_baseline.py reviews.jsonl MODEL_FOLDER paper_baseline.json --shoal target/release/shoal --records 200

Needs torch and transformers. Uses the first records with a `text`; MODEL_FOLDER is a published checkpoint.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("input", help="JSON Lines with a field `text`")
parser.add_argument("model", help="folder of the model")
parser.add_argument("output", help="JSON file to write")
parser.add_argument("--shoal", default="shoal")
parser.add_argument("--precision", default="int8", help="precision of shoal")
parser.add_argument("--records", type=int, default=200)
parser.add_argument("--batch", type=int, default=8, help="records in a padded batch")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
args = parser.parse_args()


def read():
    with open(args.input, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return texts[: args.records]


def child():
    """A process of the paper's implementation: prints the seconds until the first batch and of all batches."""
    started = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model).eval()
    texts = read()

    def batch(first):
        tokens = tokenizer(
            texts[first : first + args.batch], padding=True, truncation=True, max_length=512, return_tensors="pt"
        )
        with torch.inference_mode():
            return model(**tokens).logits.softmax(-1)

    batch(0)
    first = time.perf_counter() - started
    working = time.perf_counter()
    for start in range(0, len(texts), args.batch):
        batch(start)
    seconds = time.perf_counter() - working
    runtime = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(json.dumps({"first": first, "seconds": seconds, "runtime": runtime}))


def shoal(folder, number):
    """Runs the same records through shoal with one worker; returns the function time in seconds and the precision."""
    records = os.path.join(folder, "records.jsonl")
    with open(records, "w", encoding="utf-8") as lines:
        for text in read():
            lines.write(json.dumps({"text": text}) + "\n")
    command = [args.shoal, "run", records, "-o", os.path.join(folder, f"labels-{number}.csv"), "--model", args.model]
    command += ["--precision", args.precision]
    command += ["--concurrency", "1", "--run-dir", os.path.join(folder, f"run-{number}"), "--json", "--quiet"]
    summary = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return summary["function_ms"]["total"] / 1e3, summary["precision"]


def main():
    paper, ours, firsts = [], [], []
    runtime = precision = ""
    with tempfile.TemporaryDirectory() as folder:
        shoal(folder, "warm")  # packs the model
        for number in range(args.rounds):
            command = [sys.executable, *sys.argv, "--child"]
            timing = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            paper.append(timing["seconds"])
            firsts.append(timing["first"])
            runtime = timing["runtime"]
            seconds, precision = shoal(folder, number)
            ours.append(seconds)
            print(f"round {number + 1}: PyTorch {paper[-1]:.2f} s, shoal {ours[-1]:.2f} s", file=sys.stderr)
    count = len(read())
    result = {
        "runtime": f"{runtime}, batches of {args.batch} padded to their longest, one thread; shoal in {precision}",
        "records": count,
        "batch_size": args.batch,
        "seconds_per_record": statistics.median(paper) / count,
        "start_seconds": statistics.median(firsts),
        "shoal_seconds_per_record": statistics.median(ours) / count,
        "rounds": {"paper": paper, "shoal": ours, "start": firsts},
    }
    with open(args.output, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


child() if args.child else main()
