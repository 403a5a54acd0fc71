"""Runs one of the Python peers on one sequence at a time, on one thread.

    python peers.py WORK RUNTIME PRECISION --sequences FILE.json [--limit N] [--logits]

Prints the same output as `shoal bench` and the Rust peers: a JSON line with the rates, or with --logits one JSON array
per line.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np


def ctranslate2(work, precision):
    import ctranslate2
    from safetensors import safe_open

    folder, compute_type = {"f32": ("ct2", "float32"), "int8": ("ct2_int8", "int8")}[precision]
    encoder = ctranslate2.Encoder(
        str(work / folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=1
    )
    # CTranslate2 runs only the encoder; the classifier's head is computed here.
    with safe_open(work / "model/model.safetensors", "numpy") as weights:
        w1, b1, w2, b2 = (
            weights.get_tensor(f"{layer}.{kind}")
            for layer in ("pre_classifier", "classifier")
            for kind in ("weight", "bias")
        )

    def run(ids):
        ids = ctranslate2.StorageView.from_array(ids.astype(np.int32))
        length = ctranslate2.StorageView.from_array(np.array(ids.shape[1:], np.int32))
        states = np.array(encoder.forward_batch(ids, length).last_hidden_state)
        return np.maximum(states[:, 0] @ w1.T + b1, 0) @ w2.T + b2

    return run


def onnxruntime(work, precision):
    import onnxruntime

    file = {"f32": "model_fused.onnx", "int8": "model_fused_int8_pc.onnx"}[precision]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(work / "onnx" / file), settings, providers=["CPUExecutionProvider"])
    types = {i.name: np.int32 if "int32" in i.type else np.int64 for i in session.get_inputs()}

    def run(ids):
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return session.run(None, {name: value.astype(types[name]) for name, value in feeds.items()})[0]

    return run


def transformers(work, precision):
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(1)
    assert precision == "f32"
    model = AutoModelForSequenceClassification.from_pretrained(work / "model").eval()

    def run(ids):
        ids = torch.from_numpy(ids)
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()

    return run


RUNTIMES = {load.__name__: load for load in (ctranslate2, onnxruntime, transformers)}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("work", type=Path)
    arguments.add_argument("runtime", choices=RUNTIMES)
    arguments.add_argument("precision", choices=["f32", "int8"])
    arguments.add_argument("--sequences", type=Path, required=True)
    arguments.add_argument("--limit", type=int)
    arguments.add_argument("--logits", action="store_true")
    options = arguments.parse_args()

    run = RUNTIMES[options.runtime](options.work, options.precision)
    sequences = json.loads(options.sequences.read_text())[: options.limit]
    sequences = [np.array([ids], np.int64) for ids in sequences]
    if options.logits:
        for ids in sequences:
            print(json.dumps(run(ids)[0].tolist()))
        return

    run(sequences[0])
    wall, cpu = time.perf_counter(), time.process_time()
    for ids in sequences:
        run(ids)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    result = {
        "threads": 1,
        "sequences": len(sequences),
        "tokens": sum(ids.size for ids in sequences),
        "records_per_s_cpu": len(sequences) / cpu,
        "records_per_s_wall": len(sequences) / wall,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
