"""Runs the real command on many records, unusual records and many receipts, and measures time and memory.

    cargo build --release
    python tools/load.py records OUTPUT.jsonl [--records 1000000,2500000,5000000,10000000] [--batch-size 50]
    python tools/load.py rows OUTPUT.jsonl
    python tools/load.py receipts OUTPUT.jsonl [--receipts 125000,250000,500000,1000000]

`records`: the local backend with a tiny model of one layer, so that the measurement covers everything except the model. The output
is checked: every record once, in order. Memory should be constant except for the batch table and the receipts, and time linear.

`rows`: texts of 0 bytes, 10 MB and 65 MiB, of one character repeated a million times, of every Unicode plane including unassigned,
private and noncharacter code points, and unpaired surrogates. Every row must become a result or a dead letter, in order.

`receipts`: `shoal status` and `shoal resume` on a run directory with many receipts, which are copies of one receipt with different
numbers.

Needs disk space, about 10 GB for ten million records. Writes one line of JSON per measurement, and a summary line.
"""

import argparse
import gzip
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["good", "bad", "film", "plot", "the", "a", "not", "ending", "slow", "loved"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["records", "rows", "receipts"])
    parser.add_argument("output")
    parser.add_argument("--records", default="1000000,2500000,5000000,10000000")
    parser.add_argument("--receipts", default="125000,250000,500000,1000000")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=os.cpu_count())
    parser.add_argument("--shoal", default=str(ROOT / "target/release/shoal"))
    parser.add_argument("--folder", help="working folder [default: the system's temporary folder]")
    options = parser.parse_args()
    options.shoal = os.path.abspath(options.shoal)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, open(options.output, "w") as out:
        bench = Bench(options, Path(folder), out)
        counts = {"records": options.records, "receipts": options.receipts}.get(options.what)
        counts = [f"--{options.what}", counts] if counts else []
        bench.write({"command": " ".join(["python tools/load.py", options.what, "OUTPUT.jsonl", *counts])})
        make_model(bench.model)
        sys.exit(not {"records": records, "rows": rows, "receipts": receipts}[options.what](bench))


class Bench:
    def __init__(self, options, folder, out):
        self.options, self.folder, self.out, self.model = options, folder, out, folder / "model"

    def write(self, line):
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()
        print(json.dumps(line), flush=True)

    def shoal(self, *words, code=0):
        """Runs shoal, which must exit with `code`; returns its output and its resource usage."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        began = time.monotonic()
        process = subprocess.Popen([self.options.shoal, *map(str, words)], cwd=self.folder, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        memory = Memory(process.pid)
        memory.start()
        stderr = []
        reader = threading.Thread(target=lambda: stderr.append(process.stderr.read()))
        reader.start()
        stdout = process.stdout.read()
        reader.join()
        # `wait4` also returns the resource usage.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        memory.join()
        if process.returncode != code:
            sys.exit(f"{words}: exit code {process.returncode}\n{stderr[0].decode()}")
        return stdout.decode(), {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_rss_mib": round(memory.peak_kib["VmHWM:"] / 1024, 1),
            "peak_anonymous_mib": round(memory.peak_kib["RssAnon:"] / 1024, 1),
        }


class Memory(threading.Thread):
    """The peak resident memory of a process, and its peak anonymous memory, which excludes mapped files that the system may drop.
    (The peak that `wait4` returns includes memory of the parent process.)"""

    def __init__(self, pid):
        super().__init__()
        self.status, self.peak_kib = Path(f"/proc/{pid}/status"), {"VmHWM:": 0, "RssAnon:": 0}

    def run(self):
        while True:
            try:
                lines = self.status.read_text().splitlines()
            except OSError:
                return
            found = [line.split() for line in lines if line.startswith(tuple(self.peak_kib))]
            if not found:
                return  # the process has ended
            for name, kib, _ in found:
                self.peak_kib[name] = max(self.peak_kib[name], int(kib))
            time.sleep(0.02)


def make_model(folder):
    """Writes a DistilBERT checkpoint with one layer of 32 and random weights."""
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    words += [word for word in WORDS if len(word) > 1]
    hidden, inner = 32, 64
    shapes = {
        "distilbert.embeddings.word_embeddings.weight": [len(words), hidden],
        "distilbert.embeddings.position_embeddings.weight": [512, hidden],
    }
    linear = {"attention.q_lin": [hidden, hidden], "attention.k_lin": [hidden, hidden], "attention.v_lin": [hidden, hidden],
              "attention.out_lin": [hidden, hidden], "ffn.lin1": [inner, hidden], "ffn.lin2": [hidden, inner]}
    linear = {f"distilbert.transformer.layer.0.{name}": shape for name, shape in linear.items()}
    linear |= {"pre_classifier": [hidden, hidden], "classifier": [2, hidden]}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in ("embeddings.LayerNorm", "transformer.layer.0.sa_layer_norm", "transformer.layer.0.output_layer_norm"):
        shapes |= {f"distilbert.{name}.weight": [hidden], f"distilbert.{name}.bias": [hidden]}
    rng, header, content = random.Random(1), {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        numbers = [1.0 if "orm.weight" in name else rng.gauss(0, 0.3) for _ in range(count)]
        packed = struct.pack(f"<{count}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content), len(content) + len(packed)]}
        content += packed
    header = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 512}')
    (folder / "config.json").write_text(json.dumps({
        "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"], "activation": "gelu",
        "dim": hidden, "hidden_dim": inner, "n_heads": 2, "n_layers": 1, "max_position_embeddings": 512, "vocab_size": len(words),
        "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}, "sinusoidal_pos_embds": False,
    }))


def run_words(bench, source, output, run, batch_size):
    return ["run", source, "-o", output, "--run-dir", run, "--batch-size", batch_size, "--model", bench.model, "--precision", "int8",
            "--concurrency", bench.options.concurrency, "--text-column", "text", "--json", "--quiet"]


def records(bench):
    counts, measured = [int(count) for count in bench.options.records.split(",")], []
    for count in counts:
        source = bench.folder / "records.jsonl"
        rng = random.Random(1)
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(997)]
        with open(source, "w", buffering=1 << 20) as lines:
            for row in range(count):
                lines.write(f'{{"id":{row},"text":"{texts[row % 997]}"}}\n')
        stdout, took = bench.shoal(*run_words(bench, source, "labels.csv", "run", bench.options.batch_size))
        summary = json.loads(stdout)
        in_order = 0
        with open(bench.folder / "labels.csv") as labels:
            header = next(labels)
            for row, line in enumerate(labels):
                in_order += line.startswith(f"{row},")
        bytes_of = [entry.stat() for entry in tree(bench.folder / "run")]
        line = {"records": count, "batches": summary["batches"], "results": summary["results"], "failed": summary["failed"],
                "rows_in_order": in_order, "columns": header.strip(), **took, "run_files": len(bytes_of),
                "run_bytes": sum(stat.st_size for stat in bytes_of), "run_disk_bytes": sum(stat.st_blocks * 512 for stat in bytes_of),
                "input_bytes": source.stat().st_size}
        bench.write(line)
        measured.append(line)
        # Everything is done, so the same command only verifies and joins.
        _, again = bench.shoal(*run_words(bench, source, "labels.csv", "run", bench.options.batch_size))
        bench.write({"records": count, "again": again})
        shutil.rmtree(bench.folder / "run")
        source.unlink()
    whole = all(line["rows_in_order"] == line["results"] == line["records"] for line in measured)
    return summarize(bench, measured, "records", "batches") and whole


def summarize(bench, measured, count, unit):
    """Writes how time and memory grow with the input."""
    first, last = measured[0], measured[-1]
    steps = max(last[unit] - first[unit], 1)
    bench.write({
        "seconds_a_million": {line[count]: round(line["seconds"] / line[count] * 1e6, 2) for line in measured},
        "cpu_seconds_a_million": {line[count]: round(line["cpu_seconds"] / line[count] * 1e6, 2) for line in measured},
        "peak_anonymous_mib": {line[count]: line["peak_anonymous_mib"] for line in measured},
        f"bytes_of_memory_for_one_more_of_{unit}":
            round((last["peak_anonymous_mib"] - first["peak_anonymous_mib"]) * 2**20 / steps),
    })
    return True


def tree(folder):
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from tree(entry.path)
            else:
                yield entry


def unusual_texts():
    """Names and texts; Python strings may contain unpaired surrogates."""
    yield "nothing", ""
    yield "a space", " "
    yield "10 MB of words", "good film " * 1_000_000
    yield "10 MB of one word", "a" * 10_000_000
    yield "65 MiB", "good " * (13 << 20)
    for name, character in [("letter", "a"), ("full stop", "."), ("space", " "), ("zero", "\0"), ("ideograph", "\u4e00"), ("accent", "\u0301"),
                            ("emoji", "\U0001f600"), ("joiner", "\u200d"), ("newline", "\n"), ("quote", '"'), ("comma", ","),
                            ("backslash", "\\"), ("private", "\ue000"), ("ligature of 18 letters", "\ufdfa"), ("byte order mark", "\ufeff")]:
        yield f"a million times {name}", character * 1_000_000
    rng = random.Random(1)
    for plane in range(17):
        first = plane << 16
        is_surrogate = range(0xD800, 0xE000).__contains__
        points = [point for point in range(first, first + 0x10000) if not is_surrogate(point)]
        yield f"plane {plane}, whole", "".join(map(chr, points))
        for number in range(40):
            yield f"plane {plane}, some {number}", "".join(chr(point) for point in rng.choices(points, k=50))
        yield f"plane {plane}, its end", chr(first + 0xFFFE) + chr(first + 0xFFFF)
    for name, text in [("high", "\ud800"), ("low", "\udfff"), ("turned round", "\udc00\ud800"), ("in words", "good \ud83d film")]:
        yield f"surrogate, {name}", text


def has_surrogate(text):
    return any(0xD800 <= ord(character) < 0xE000 for character in text)


def rows(bench):
    """Alternates plain and unusual rows."""
    csv_text = lambda text: '"' + text.replace('"', '""') + '"'
    ok = True
    for shape in ("jsonl", "jsonl.gz", "csv", "csv.gz"):
        is_json = shape.startswith("jsonl")
        source = bench.folder / f"rows.{shape}"
        expected = {}
        opened = gzip.open(source, "wb", compresslevel=1) if shape.endswith("gz") else open(source, "wb")
        with opened as lines:
            if not is_json:
                lines.write(b"id,text\n")
            for name, text in [pair for odd in unusual_texts() for pair in [("plain", "good film"), odd]]:
                row = len(expected)
                if is_json:
                    # Alternates between escaped and literal text; surrogates can only be escaped.
                    line = json.dumps({"id": row, "text": text}, ensure_ascii=has_surrogate(text) or row % 4 == 1)
                    lines.write(line.encode() + b"\n")
                else:
                    # Surrogates are written as the bytes that they would have in UTF-8.
                    lines.write(f"{row},{csv_text(text)}\n".encode("utf-8", "surrogatepass"))
                is_null = not is_json and text == ""
                size = len(line if is_json else text.encode("utf-8", "surrogatepass"))
                expected[row] = (name, has_surrogate(text) or is_null or size > 64 << 20)
        for batch_size in (1, 50):
            stdout, took = bench.shoal(*run_words(bench, source, "labels.jsonl", "run", batch_size))
            summary = json.loads(stdout)
            ids = [json.loads(line)["id"] for line in open(bench.folder / "labels.jsonl")]
            letters = [json.loads(line) for line in open(bench.folder / "run/failed.jsonl")]
            wanted = [row for row, (_, is_bad) in expected.items() if not is_bad]
            results_right = [int(i) for i in ids] == wanted
            bad = [letter["row"] for letter in letters]
            letters_right = bad == [row for row, (_, is_bad) in expected.items() if is_bad]
            ok &= results_right and letters_right and summary["records"] == len(expected)
            bench.write({"shape": shape, "batch_size": batch_size, "rows": len(expected), "records": summary["records"], "results": len(ids),
                         "dead_letters": len(letters), "results_right": results_right, "letters_right": letters_right,
                         "reasons": sorted({letter["reason"][:120] for letter in letters}) if letters else [], **took})
            if not letters_right:
                found = set(bad)
                bench.write({"unforeseen": [(row, name, row in found) for row, (name, is_bad) in expected.items() if (row in found) != is_bad][:20]})
            shutil.rmtree(bench.folder / "run")
        source.unlink()
    bench.write({"all_right": ok})
    return ok


def receipts(bench):
    """Plans many batches of one record each, and creates almost all receipts."""
    counts, measured = [int(count) for count in bench.options.receipts.split(",")], []
    source = bench.folder / "records.jsonl"
    for count in counts:
        with open(source, "w", buffering=1 << 20) as lines:
            for row in range(count):
                lines.write(f'{{"id":"{row:08}","text":"good"}}\n')
        # Stops soon after the start; finished batches are kept.
        words = run_words(bench, source, "labels.csv", "run", 1)
        _, planned = bench.shoal(*words, "--max-time", "1s", code=9)
        run = bench.folder / "run"
        name = sorted(os.listdir(run / "receipts"))[0]
        receipt = (run / "receipts" / name).read_text()
        part = (run / "parts" / name.replace(".json", ".csv")).read_bytes()
        own = json.loads(receipt)["batch"]
        assert receipt.count(f'"batch":{own},') == 1, receipt
        for batch in range(count):
            path = run / "receipts" / f"{batch:08}.json"
            if not path.exists():
                path.write_text(receipt.replace(f'"batch":{own},', f'"batch":{batch},'))
                (run / "parts" / f"{batch:08}.csv").write_bytes(part)
        stdout, status = bench.shoal("status", "run", "--json")
        found = json.loads(stdout)
        stdout, resumed = bench.shoal("resume", "run", "--json", "--quiet")
        summary = json.loads(stdout)
        line = {"receipts": count, "batches_done": found["batches_done"], "reused": summary["reused_batches"], "status": status, "resume": resumed,
                "planned": planned, **status}
        bench.write(line)
        measured.append(line)
        shutil.rmtree(run)
    right = all(line["batches_done"] == line["receipts"] for line in measured)
    return summarize(bench, measured, "receipts", "receipts") and right


if __name__ == "__main__":
    main()
