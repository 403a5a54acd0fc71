"""Times ONNX Runtime in f32, one sequence at a time, one thread; prints a JSON line.

    python onnxruntime_peer.py WORK --nseq N [--logits]

The sequences, the count of operations and the meaning of the numbers are those of the example
`sequences` of shoal-encoder.
"""

import argparse
import json
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime

arguments = argparse.ArgumentParser()
arguments.add_argument("work")
arguments.add_argument("--nseq", type=int, default=48)
arguments.add_argument("--logits", action="store_true")
options = arguments.parse_args()

ids = np.fromfile(f"{options.work}/wl_ids.i32", "<i4").astype(np.int64)
lengths = np.fromfile(f"{options.work}/wl_lens.i32", "<i4")
sequences = np.split(ids, np.cumsum(lengths)[:-1])

settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    f"{options.work}/onnx/model_fused.onnx", settings, providers=["CPUExecutionProvider"])
types = {i.name: np.int32 if "int32" in i.type else np.int64 for i in session.get_inputs()}


def run(sequence):
    feeds = {"input_ids": sequence[None], "attention_mask": np.ones((1, len(sequence)), np.int64)}
    return session.run(None, {name: value.astype(types[name]) for name, value in feeds.items()})[0]


def work(n):
    return 6 * (2 * n * (4 * 768 * 768 + 2 * 768 * 3072) + 4 * n * n * 768)


if options.logits:
    for sequence in sequences[:4]:
        print(json.dumps(run(sequence)[0].tolist()))
    raise SystemExit

mean = np.mean([work(float(n)) for n in lengths])
count = min(options.nseq, len(sequences))
chosen = [sequences[int((k + 0.5) * len(sequences) / count)] for k in range(count)]
operations = sum(work(float(len(s))) for s in chosen)
run(chosen[0])
wall, cpu = time.perf_counter(), time.process_time()
for sequence in chosen:
    run(sequence)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps(dict(
    peer="ort_fp32", version=onnxruntime.__version__, bs=1, order="arrival", rep=0, n=count,
    tok=sum(map(len, chosen)), wall=wall, cpu=cpu,
    gflops_wall=operations / wall / 1e9, gflops_cpu=operations / cpu / 1e9,
    rps_wall=operations / wall / mean, rps_cpu=operations / cpu / mean)))
