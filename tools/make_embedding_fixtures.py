"""Makes the small random models for which the tests compare embeddings with sentence-transformers.

    pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 safetensors
    python tools/make_embedding_fixtures.py

Writes model folders and `expected.json` to crates/encoder/tests/fixtures/embedding. Each folder
covers a feature of models on the hub: a pooling mode, a dialect of the configuration files,
additional modules, prompts, a limit, tensor names. `expected.json` contains the results
of `encode` in f32, each text alone and without padding:

    versions                     torch, transformers, sentence_transformers
    texts                        the texts, which records refer to by index
    cases[]                      one per folder
      model                      name of the folder
      dimension                  values per embedding, without the `truncate_dim` of a call
      max_seq_length             limit in tokens, special tokens included
      precision_noise            greatest difference between an embedding in f32 and in f64
      calls[]
        normalize_embeddings     false or true
        truncate_dim             null or a number
        prompt_name, prompt      null or a string
        prompt_length            number of tokens of the prompt, with [CLS] but without [SEP]; null without a prompt
        records[]
          text                   index of the text in `texts`
          ids                    token ids of the model's input
          embedding              values, 8 significant digits

The weights have a large variance, so that an error is visible in the embeddings. Every run has the
same result; the last digits may differ on another CPU.
"""

import json
import logging
import os
import shutil
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import sentence_transformers
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from fixtures.make_models import SENTENCE, VOCABULARY, tokenizer

OUT = Path(__file__).resolve().parents[1] / "crates" / "encoder" / "tests" / "fixtures" / "embedding"

POSITIONS = 40
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

TEXTS = [
    "",
    "good",
    "The movie was GREAT!",
    "It was never a good film, but the music and the slow scenes were lovely.",
    "Café naïve Über: ÉCLAIR? 日本の映画 e\u0301",
    "?!... -- (/) &",
    "unknownß€😀 and žluťoučký",
    "  tabs\tand\nnewlines \u00a0 [SEP] marker [MASK]  ",
    "good " * 21 + "film",
    "good " * 22 + "film",
    "good bad " * 18 + "the film",
    SENTENCE * 3,
    "e",
]
# Indices into `TEXTS`.
ALL = list(range(len(TEXTS) - 1))
FEW = [0, 4, 9]
ONE = [3]

DEFAULT = [
    (dict(), ALL),
    (dict(normalize_embeddings=True), FEW),
    (dict(truncate_dim=8), ONE),
    (dict(truncate_dim=8, normalize_embeddings=True), FEW),
    (dict(prompt="a review: "), FEW),
]
NAMED = DEFAULT + [
    (dict(prompt_name="query"), FEW),
    (dict(prompt_name="document"), FEW),
    (dict(prompt_name="long"), FEW),
    (dict(prompt_name="query", normalize_embeddings=True, truncate_dim=8), FEW),
    # Replaces the default prompt.
    (dict(prompt=""), FEW),
    # The end of the prompt and the start of the text form one word.
    (dict(prompt="lov"), FEW),
]

PROMPTS = {
    "query": "query: ",
    "document": "Passage: ",
    "empty": "",
    # More tokens than some of the limits.
    "long": "watch the film again and " * 5,
}


def bert(**more):
    settings = dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=24) | more
    return BertConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=POSITIONS, pad_token_id=0,
        architectures=["BertModel"], **settings,
    )


def distilbert(**more):
    settings = dict(dim=32, n_heads=4, n_layers=2, hidden_dim=24) | more
    return DistilBertConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=POSITIONS, pad_token_id=0,
        architectures=["DistilBertModel"], **settings,
    )


# Options of a case:
#   dialect: "saved" is the format of sentence-transformers 6, "mixed" the same with manual changes,
#     "old" the format of versions before 3, "plain" a folder of transformers only.
#   pooling: modes. Their order has no effect in the old dialect.
#   normalize, dense: additional modules.
#   limit: max_seq_length in the old dialect, model_max_length of the tokenizer in the others.
#   prefix: prefix of the names of the model's tensors.
#   pooler: whether the checkpoint has BERT's pooler, which is not used.
CASES = {
    "cls-old": dict(config=bert(), dialect="old", pooling=["cls"], limit=24, pooler=True),
    "max-mixed": dict(config=distilbert(n_layers=1), dialect="mixed", pooling=["max"], limit=24),
    "mean-normalize-old": dict(
        config=bert(), dialect="old", pooling=["mean"], normalize=True, limit=24, prefix="bert.", pooler=True,
        file_truncation=True),
    "mean-normalize-saved": dict(
        config=distilbert(), dialect="saved", pooling=["mean"], normalize=True, limit=32, prefix="distilbert."),
    "sqrt-old": dict(
        config=distilbert(n_layers=1), dialect="old", pooling=["mean_sqrt_len_tokens"], limit=24),
    "weightedmean-saved": dict(
        config=bert(hidden_size=36, num_hidden_layers=1), dialect="saved", pooling=["weightedmean"], limit=24),
    "lasttoken-saved": dict(
        config=bert(num_hidden_layers=1), dialect="saved", pooling=["lasttoken"], normalize=True, limit=24),
    "cls-max-mean-old": dict(
        config=distilbert(n_layers=1), dialect="old", pooling=["mean", "cls", "max"], limit=24),
    "all-old": dict(config=bert(), dialect="old", pooling=MODES, limit=24),
    # In this dialect the order of the list matters.
    "list-saved": dict(
        config=distilbert(n_layers=1), dialect="saved", pooling=["lasttoken", "mean", "weightedmean", "cls"],
        limit=24),
    "dense-tanh-saved": dict(
        config=bert(), dialect="saved", pooling=["mean"], limit=24, normalize=True,
        dense=dict(out_features=24, bias=True, activation_function=torch.nn.Tanh())),
    "dense-identity-old": dict(
        config=distilbert(n_layers=1), dialect="old", pooling=["cls", "mean"], limit=24,
        dense=dict(out_features=20, bias=False, activation_function=torch.nn.Identity())),
    "prompts-saved": dict(
        config=bert(), dialect="saved", pooling=["mean"], limit=24, prompts=PROMPTS, calls=NAMED),
    "prompts-default-old": dict(
        config=distilbert(), dialect="old", pooling=["mean"], normalize=True, limit=24, prompts=PROMPTS,
        default_prompt="document", include_prompt=True, calls=NAMED),
    "prompts-excluded-saved": dict(
        config=distilbert(), dialect="saved", pooling=["mean"], normalize=True, limit=24, prompts=PROMPTS,
        default_prompt="query", include_prompt=False,
        # "lov" and "e" are one token together and three alone: no token is left.
        calls=NAMED + [(dict(prompt="lov"), [TEXTS.index("e")])]),
    "prompts-excluded-old": dict(
        config=bert(), dialect="old", pooling=MODES, limit=24, prompts=PROMPTS, include_prompt=False,
        calls=DEFAULT + [(dict(prompt_name="query"), FEW), (dict(prompt_name="long"), ONE)]),
    # Without modules.json: the mean of all tokens. The tokenizer has no limit, so the positions limit the length.
    "plain": dict(config=bert(), dialect="plain", pooler=True),
    # A cased tokenizer on lower-cased text. No mode is true, which means the mean.
    "lower-case-old": dict(
        config=bert(), dialect="old", pooling=[], limit=24, cased=True, do_lower_case=True),
    # A cased tokenizer, and embeddings that are truncated by default, after normalization.
    "truncate-saved": dict(
        config=distilbert(n_layers=1), dialect="saved", pooling=["mean"], limit=24, cased=True, normalize=True,
        truncate_dim=12),
    # f16 weights, computed in f32.
    "mean-f16-saved": dict(
        config=bert(num_hidden_layers=1), dialect="saved", pooling=["mean"], limit=24, dtype=torch.float16),
}


def widen(module, seed):
    """Weights with a large variance, so that an error is visible, and layer norms away from 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if "norm" in name.lower():
            value.data = 1 + 0.2 * noise if name.endswith("weight") else 0.2 * noise
        elif "embeddings" in name:
            value.data = 0.4 * noise
        else:
            value.data = 0.2 * noise


def write(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save_tokenizer(folder, spec):
    cased = spec.get("cased", False)
    made = tokenizer(lowercase=not cased)
    if spec.get("file_truncation"):
        # As in all-MiniLM-L6-v2; it must have no effect.
        made.enable_truncation(max_length=16)
        made.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    made.save(str(folder / "tokenizer.json"))
    special = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("unk", "sep", "pad", "cls", "mask")}
    settings = {"do_lower_case": not cased, **special, "tokenize_chinese_chars": True, "strip_accents": None}
    old = spec["dialect"] == "old"
    if spec["dialect"] != "plain":
        # In the old dialect the limit is in sentence_bert_config.json.
        settings["model_max_length"] = POSITIONS if old else spec["limit"]
    family = "DistilBertTokenizer" if spec["config"].model_type == "distilbert" else "BertTokenizer"
    write(folder / "tokenizer_config.json", settings | {"tokenizer_class": family})
    if old:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        write(folder / "special_tokens_map.json", special)


def save_model(folder, spec, seed):
    config = spec["config"]
    torch.manual_seed(seed)
    if config.model_type == "distilbert":
        model = DistilBertModel(config)
    else:
        model = BertModel(config, add_pooling_layer=spec.get("pooler", False))
    widen(model, seed)
    model.to(spec.get("dtype", torch.float32)).save_pretrained(folder)
    name_tensors(folder, spec)


def name_tensors(folder, spec):
    file = folder / "model.safetensors"
    named = {spec.get("prefix", "") + name: value for name, value in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})


def dense_of(spec, width, seed):
    torch.manual_seed(seed)
    dense = Dense(in_features=width, **spec["dense"])
    widen(dense, seed + 1000)
    return dense


def save_as_now(folder, spec, seed):
    """Writes what `SentenceTransformer.save` does, without the model card."""
    transformer = Transformer(str(folder))
    width = transformer.get_embedding_dimension()
    modules = [
        transformer,
        Pooling(width, pooling_mode=spec["pooling"], include_prompt=spec.get("include_prompt", True)),
    ]
    if "dense" in spec:
        modules.append(dense_of(spec, width * len(spec["pooling"]), seed))
    if spec.get("normalize"):
        modules.append(Normalize())
    model = SentenceTransformer(
        modules=modules, device="cpu", prompts=spec.get("prompts"), truncate_dim=spec.get("truncate_dim"),
        default_prompt_name=spec.get("default_prompt"),
    )
    shutil.rmtree(folder)
    model.save(str(folder), create_model_card=False)
    name_tensors(folder, spec)


def save_mixed(folder, spec, seed):
    """Uses shorter type names and old keys in addition to the new ones, which take precedence, and omits files."""
    save_as_now(folder, spec, seed)
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        package, _, kind = module["type"].rsplit(".", 2)
        module["type"] = f"{package}.{kind}"
    write(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode": spec["pooling"]}
    write(folder / "1_Pooling" / "config.json", pooling)
    (folder / "sentence_bert_config.json").unlink()
    (folder / "config_sentence_transformers.json").unlink()


def save_as_before(folder, spec, seed):
    """Writes the files of versions before 3, as in folders on the hub."""
    config = spec["config"]
    width = config.hidden_size
    pooling = {"word_embedding_dimension": width}
    for mode in MODES:
        key = f"pooling_mode_{mode}" + ("_token" if mode == "cls" else "_tokens" if "token" not in mode else "")
        if mode in MODES[:4] or len(spec["pooling"]) > 3:
            # The last two modes were added later; many folders do not contain them.
            pooling[key] = mode in spec["pooling"]
    if "include_prompt" in spec:
        pooling["include_prompt"] = spec["include_prompt"]
    write(folder / "1_Pooling" / "config.json", pooling)
    kinds = ["Transformer", "Pooling"]
    if "dense" in spec:
        dense = dense_of(spec, width * len(spec["pooling"]), seed)
        kinds.append("Dense")
        write(folder / "2_Dense" / "config.json", {
            "in_features": dense.in_features, "out_features": dense.out_features, "bias": dense.bias,
            "activation_function": "torch.nn.modules.linear.Identity",
        })
        save_file(dense.state_dict(), folder / "2_Dense" / "model.safetensors")
    if spec.get("normalize"):
        # Its folder was empty, so it is missing in a clone of the repository.
        kinds.append("Normalize")
    write(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ])
    write(folder / "sentence_bert_config.json", {
        "max_seq_length": spec["limit"], "do_lower_case": spec.get("do_lower_case", False),
    })
    about = {"__version__": {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}}
    if "prompts" in spec:
        about |= {"prompts": spec["prompts"], "default_prompt_name": spec.get("default_prompt")}
    write(folder / "config_sentence_transformers.json", about)


def load(folder, dtype):
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs=dict(dtype=dtype))
    loaded = model[0].model.state_dict()
    for name, value in load_file(folder / "model.safetensors").items():
        name = name.removeprefix("bert.").removeprefix("distilbert.")
        assert torch.equal(loaded[name], value.to(dtype)), name
    return model


def run(model, exact, call, texts):
    """Returns the records of one call, the length of its prompt, and the greatest difference from f64."""
    prompt = model._resolve_prompt(call.get("prompt"), call.get("prompt_name"))
    records, noise, length = [], 0.0, None
    for place in texts:
        text = TEXTS[place]
        features = model.preprocess([text], prompt=prompt)
        length = features.get("prompt_length")
        embedding = model.encode([text], batch_size=1, **call)[0]
        noise = max(noise, abs(embedding - exact.encode([text], batch_size=1, **call)[0]).max().item())
        records.append({
            "text": place,
            "ids": features["input_ids"][0].tolist(),
            "embedding": [float(f"{value:.8g}") for value in embedding.tolist()],
        })
    filled = dict(normalize_embeddings=False, truncate_dim=None, prompt_name=None, prompt=None) | call
    return filled | {"prompt_length": length, "records": records}, noise


def make(name, spec, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_tokenizer(folder, spec)
    save_model(folder, spec, seed)
    save = {"saved": save_as_now, "mixed": save_mixed, "old": save_as_before, "plain": lambda *_: None}
    save[spec["dialect"]](folder, spec, seed)

    model, exact = load(folder, torch.float32), load(folder, torch.float64)
    assert model.max_seq_length == spec.get("limit", POSITIONS)
    calls, noises = zip(*(run(model, exact, call, texts) for call, texts in spec.get("calls", DEFAULT)))
    values = torch.tensor([record["embedding"] for record in calls[0]["records"]])
    print(f"{name}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e3:.0f} kB, "
          f"values {values.min():.2f} to {values.max():.2f}, std over texts {values.std(0).mean():.2f}, "
          f"noise {max(noises):.1e}")
    return {"model": name, "dimension": values.shape[1], "max_seq_length": model.max_seq_length,
            "precision_noise": float(f"{max(noises):.1e}"), "calls": calls}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    shutil.rmtree(OUT, ignore_errors=True)
    cases = [make(name, spec, seed) for seed, (name, spec) in enumerate(CASES.items())]
    versions = {module.__name__: module.__version__ for module in (torch, transformers, sentence_transformers)}
    text = '{"versions": ' + json.dumps(versions) + ',\n"texts": ' + json.dumps(TEXTS) + ',\n"cases": [\n'
    text += ",\n".join(json.dumps(case) for case in cases) + "\n]}\n"
    (OUT / "expected.json").write_text(text)
    print(f"{sum(f.stat().st_size for f in OUT.rglob('*') if f.is_file()) / 1e6:.2f} MB in all")


if __name__ == "__main__":
    main()
