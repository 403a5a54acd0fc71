"""Compares shoal with transformers on the real IMDb reviews, which the project cannot ship.

    pip install torch==2.15.0 transformers==5.24.0 zstandard
    cargo build --release --example token_ids -p shoal-encoder && cargo build --release
    python tools/check_imdb.py imdb-test.jsonl.zst

The data set is JSONL, plain or zstd, with the columns `id`, `text` and `label`. There are four
checks, which take some minutes: the token ids of the first 2,000 reviews equal those of the
`tokenizers` Python package with BERT's special tokens and truncation; `shoal run` labels every
review, in f32 and in int8; on the first 1,000 reviews the f32 labels equal those of transformers; and
at least 99.3 % of the int8 labels equal the f32 labels, with an accuracy within 0.2 points.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import check_accuracy

ROOT = Path(__file__).resolve().parent.parent


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("data")
    arguments.add_argument("--model", default=str(ROOT / "models/sentiment"))
    arguments.add_argument("--built", default=str(ROOT / "target/release"), help="folder with the built programs")
    arguments.add_argument("--predictions", help="output of an earlier tools/check_accuracy.py")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        failures = [check(options, Path(folder)) for check in (check_tokens, check_labels)]
    sys.exit(any(failures))


def check_tokens(options, folder):
    from tokenizers import Tokenizer

    texts = [json.loads(line)["text"] for line, _ in zip(check_accuracy.lines_of(options.data), range(2000))]
    records = folder / "texts.jsonl"
    records.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = Tokenizer.from_file(options.model + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    ours = subprocess.run(
        [options.built + "/examples/token_ids", options.model, records], check=True, capture_output=True
    ).stdout.splitlines()
    different = sum(
        json.loads(line) != tokenizer.encode(text).ids for line, text in zip(ours, texts, strict=True)
    )
    print(f"tokens: {different} of {len(texts)} reviews differ from tokenizers")
    return different


def check_labels(options, folder):
    f32, f32_accuracy = labels_of("f32", options, folder)
    predictions = options.predictions
    if predictions is None:
        predictions = folder / "predictions.jsonl"
        subprocess.run([sys.executable, check_accuracy.__file__, options.data, options.model, predictions], check=True)
    theirs = [json.loads(line) for line in open(predictions, encoding="utf-8")]
    different = sum(ours["label"] != theirs["label"] for ours, theirs in zip(f32, theirs))
    worst = max(abs(ours["score"] - theirs["score"]) for ours, theirs in zip(f32, theirs))
    right = sum(ours["label"].lower() == theirs["expected"].lower() for ours, theirs in zip(f32, theirs))
    print(f"f32: {different} of {len(theirs)} labels differ from transformers, {right} right, "
          f"scores differ by at most {worst:.1e}")

    int8, int8_accuracy = labels_of("int8", options, folder)
    agreeing = sum(a["label"] == b["label"] for a, b in zip(f32, int8, strict=True))
    print(f"int8: {agreeing} of {len(f32)} labels as in f32 ({100 * agreeing / len(f32):.2f} %)")
    return different or agreeing / len(f32) < 0.993 or abs(int8_accuracy - f32_accuracy) > 0.002


def labels_of(precision, options, folder):
    output = folder / f"{precision}.jsonl"
    summary = subprocess.run(
        [options.built + "/shoal", "run", options.data, "-o", output, "--model", options.model, "--precision", precision,
         "--label-column", "label", "--run-dir", folder / precision, "--json"],
        check=True, stdout=subprocess.PIPE,
    ).stdout
    summary = json.loads(summary)
    labels = [json.loads(line) for line in output.open(encoding="utf-8")]
    if len(labels) != summary["records"]:
        sys.exit(f"{precision}: {len(labels)} labels for {summary['records']} records")
    accuracy = summary["accuracy"]
    print(f"{precision}: {len(labels)} labels, {accuracy['right']} of {accuracy['of']} right "
          f"({100 * accuracy['share']:.2f} %), {summary['records_per_second']:.1f} records/s "
          f"on {summary['concurrency']} workers")
    return labels, accuracy["share"]


if __name__ == "__main__":
    main()
