"""Makes what the comparison needs in a work folder, unless it is there already.

    python prepare.py WORK

* `model/`: a classifier of DistilBERT-base shape with random weights. Speed does not depend on them.
* `onnx/model_fused.onnx`: the same for ONNX Runtime, fused by its transformer optimizer (attention,
  GELU, skip and layer norm as single operators).
* `wl_ids.i32`, `wl_lens.i32`: 512 sequences of random words, with the lengths of IMDb reviews:
  log-normal, median 228, cut at 512 tokens. Little-endian 32-bit integers.
"""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

WORK = Path(sys.argv[1])


def workload():
    generator = np.random.default_rng(20240601)
    lengths = np.exp(generator.normal(np.log(228), 0.70, 512)).round().astype(int).clip(10, 512)
    sequences = []
    for length in lengths:
        ids = generator.integers(1000, 30522, length)
        ids[0], ids[-1] = 101, 102
        sequences.append(ids)
    np.concatenate(sequences).astype("<i4").tofile(WORK / "wl_ids.i32")
    lengths.astype("<i4").tofile(WORK / "wl_lens.i32")


def model():
    torch.manual_seed(0)
    DistilBertForSequenceClassification(DistilBertConfig(num_labels=2)).save_pretrained(WORK / "model")


def vocabulary():
    """A word for every id, so that the folder also opens as a whole."""
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    words = [special.get(i, f"w{i}" if i >= 1000 else f"[unused{i}]") for i in range(30522)]
    (WORK / "model" / "vocab.txt").write_text("\n".join(words) + "\n")


def export():
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    inner = DistilBertForSequenceClassification.from_pretrained(WORK / "model", attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.randint(1000, 30000, (2, 40))
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    (WORK / "onnx").mkdir(exist_ok=True)
    plain = WORK / "onnx" / "model.onnx"
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(
        Logits().eval(), (ids, mask), str(plain), input_names=["input_ids", "attention_mask"],
        output_names=["logits"], opset_version=17, dynamo=False,
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}})
    fused = optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=12, hidden_size=768,
        optimization_options=FusionOptions("bert"), opt_level=1)
    statistics = fused.get_fused_operator_statistics()
    print(statistics)
    if statistics.get("Attention", 0) + statistics.get("MultiHeadAttention", 0) < 6:
        sys.exit("the optimizer did not fuse attention: the comparison would not be fair")
    fused.save_model_to_file(str(WORK / "onnx" / "model_fused.onnx"))


WORK.mkdir(parents=True, exist_ok=True)
for made, step in (
    ("wl_lens.i32", workload),
    ("model/model.safetensors", model),
    ("model/vocab.txt", vocabulary),
    ("onnx/model_fused.onnx", export),
):
    if not (WORK / made).exists():
        print("making", made)
        step()
