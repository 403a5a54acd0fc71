"""Creates the inputs of the peers in a work folder, except those that already exist.

    python make_models.py WORK

model/               a DistilBERT-base classifier with random weights (speed does not depend on them)
sequences.json       512 arrays of random token ids with the lengths of IMDb reviews
onnx/model.onnx      the model for rten
onnx/model_int8.onnx                the same with int8 weights
onnx/model_fused.onnx               fused by ONNX Runtime's transformers optimizer
onnx/model_fused_int8_pc.onnx       the same with int8 weights, one scale per channel
ct2/, ct2_int8/      the model for CTranslate2 in f32 and int8
"""

import json
import sys
from pathlib import Path

WORK = Path(sys.argv[1])
MODEL = WORK / "model"
ONNX = WORK / "onnx"


def sequences(path):
    """Lengths are log-normal, clipped to 10 to 512 tokens: median 234, mean 267."""
    import numpy as np

    generator = np.random.default_rng(20240601)
    lengths = np.exp(generator.normal(np.log(228), 0.70, 512)).round().astype(int).clip(10, 512)
    made = []
    for length in lengths:
        ids = generator.integers(1000, 30522, length)
        ids[0], ids[-1] = 101, 102  # [CLS], [SEP]
        made.append(ids.tolist())
    path.write_text(json.dumps(made))


def model(folder):
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    config = DistilBertConfig(id2label=labels, label2id={label: i for i, label in labels.items()})
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    # One word per id, so that any sequence of ids can be written as text.
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    words = [special.get(i, f"w{i}" if i >= 1000 else f"[unused{i}]") for i in range(30522)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def plain(path):
    import torch
    from transformers import DistilBertForSequenceClassification

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = DistilBertForSequenceClassification.from_pretrained(MODEL, attn_implementation="eager")

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.randint(1000, 30000, (2, 40))
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(
        Logits().eval(),
        (ids, mask),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        opset_version=17,
        dynamo=False,  # ONNX Runtime's optimizer recognizes the attention only in the output of this exporter.
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
    )


def fused(path):
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = json.loads((MODEL / "config.json").read_text())
    made = optimizer.optimize_model(
        str(ONNX / "model.onnx"),
        model_type="bert",
        num_heads=config["n_heads"],
        hidden_size=config["dim"],
        optimization_options=FusionOptions("bert"),
        opt_level=1,
    )
    found = made.get_fused_operator_statistics()
    if found["Attention"] != config["n_layers"]:
        sys.exit(f"attention was not fused in every layer, which would make the comparison unfair: {found}")
    made.save_model_to_file(str(path))


def int8(source, **settings):
    def make(path):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Products of two activations stay f32. The default type 1 is FLOAT, for values whose type
        # shape inference cannot determine.
        options = {"MatMulConstBOnly": True, "DefaultTensorType": 1}
        quantize_dynamic(ONNX / source, path, weight_type=QuantType.QInt8, extra_options=options, **settings)

    return make


def ctranslate2(quantization):
    def make(folder):
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(MODEL)).convert(str(folder), quantization=quantization)

    return make


ONNX.mkdir(parents=True, exist_ok=True)
for made, make in (
    (WORK / "sequences.json", sequences),
    (MODEL, model),
    (ONNX / "model.onnx", plain),
    (ONNX / "model_int8.onnx", int8("model.onnx")),
    (ONNX / "model_fused.onnx", fused),
    (ONNX / "model_fused_int8_pc.onnx", int8("model_fused.onnx", per_channel=True)),
    (WORK / "ct2", ctranslate2(None)),
    (WORK / "ct2_int8", ctranslate2("int8")),
):
    if not made.exists():
        print(f"creating {made.relative_to(WORK)}", file=sys.stderr)
        # Renamed only when complete, so that an interrupted setup can be resumed.
        part = made.with_name(f"part-{made.name}")
        make(part)
        part.rename(made)
