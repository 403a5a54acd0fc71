"""Measures the accuracy of a model in transformers on the first reviews of a labelled data set.

    pip install torch==2.15.0 transformers==5.24.0 zstandard
    python tools/check_accuracy.py imdb-test.jsonl.zst models/sentiment predictions.jsonl

The data set is JSONL, plain or zstd, with the columns `text` and `label`. Each review runs alone,
unpadded, in f32, truncated at 512 tokens, on one thread. Every prediction is written as a line with
the index of the review (from 0), its id if it has one, the label in the data set, and the predicted
label with its score, so that another runtime's predictions can be compared review by review. Labels
of the data set match those of the model by name, ignoring case, by `pos` and `neg` for POSITIVE and
NEGATIVE, or by number.
"""

import argparse
import io
import json
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def lines_of(path):
    if path.endswith(".zst"):
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True)
        return io.TextIOWrapper(stream, encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("data")
    arguments.add_argument("model")
    arguments.add_argument("output")
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--max-tokens", type=int, default=512)
    options = arguments.parse_args()

    torch.set_num_threads(1)
    encode = AutoTokenizer.from_pretrained(options.model)
    encode.backend_tokenizer.no_truncation()
    encode.backend_tokenizer.no_padding()
    model = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32).eval()
    names = model.config.id2label
    ids_of = {name.lower(): index for index, name in names.items()} | {str(index): index for index in names}
    for short, name in (("pos", "positive"), ("neg", "negative")):
        if name in ids_of:
            ids_of.setdefault(short, ids_of[name])

    right = count = 0
    with open(options.output, "w", encoding="utf-8") as output:
        for index, line in enumerate(lines_of(options.data)):
            if index == options.count:
                break
            record = json.loads(line)
            ids = encode(record["text"], truncation=True, max_length=options.max_tokens)["input_ids"]
            with torch.no_grad():
                scores = model(input_ids=torch.tensor([ids])).logits[0].softmax(0)
            best = int(scores.argmax())
            right += ids_of[str(record["label"]).lower()] == best
            count += 1
            prediction = {"index": index, "expected": record["label"], "label": names[best],
                          "score": round(float(scores[best]), 7), "tokens": len(ids)}
            if "id" in record:
                prediction["id"] = record["id"]
            output.write(json.dumps(prediction) + "\n")
    print(f"{right} of {count} right ({100 * right / count:.1f} %)")


if __name__ == "__main__":
    main()
