"""Converts the sample reviews from examples/reviews.jsonl to the other formats.

Needs Python 3.9 or newer with two packages:

    pip install pyarrow zstandard

Can be run from any directory:

    python tools/sample/make_formats.py            # write every format
    python tools/sample/make_formats.py --check    # write nothing; read each format back and compare

The same package versions always write the same bytes: the output contains no times, host names or
random numbers. Other versions of zlib, zstandard or pyarrow may compress the same rows to different
bytes, so --check compares rows, not bytes.
"""

import argparse
import csv
import gzip
import io
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COLUMNS = ["id", "text", "label", "title", "stars"]
FOLDER_ROWS = 20
SCHEMA = pa.schema([(c, pa.int64() if c == "stars" else pa.string()) for c in COLUMNS])


def load(data):
    """Parses and checks the rows of a JSON Lines file."""
    # split("\n"), not splitlines(): a text may contain other line separators.
    rows = [json.loads(line) for line in data.decode("utf-8").rstrip("\n").split("\n")]
    for number, row in enumerate(rows, 1):
        assert list(row) == COLUMNS, f"line {number}: columns {list(row)}"
        assert row["id"] == f"r{number:03d}", f"line {number}: id {row['id']}"
        good = range(7, 11) if row["label"] == "positive" else range(1, 5)
        assert row["label"] in ("positive", "negative"), f"line {number}: label"
        assert row["stars"] in good, f"line {number}: stars do not fit the label"
        assert row["text"].strip() == row["text"] != "", f"line {number}: text"
    return rows


def delimited(rows, delimiter):
    """RFC 4180 quoting with LF line ends: a field is quoted only if necessary."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[c] for c in COLUMNS] for row in rows)
    return out.getvalue().encode("utf-8")


def gzipped(data):
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def parquet(rows):
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    # Two row groups, so that readers cross a boundary between them.
    pq.write_table(table, out, row_group_size=100, compression="snappy")
    return out.getvalue()


def folder(rows):
    """aclImdb's layout: pos/INDEX_STARS.txt and neg/INDEX_STARS.txt, INDEX being the row number from 0."""
    return {
        f"aclImdb/{row['label'][:3]}/{index}_{row['stars']}.txt": row["text"].encode("utf-8")
        for index, row in enumerate(rows[:FOLDER_ROWS])
    }


def make(source):
    rows = load(source)
    table = delimited(rows, ",")
    return {
        "reviews.csv": table,
        "reviews.tsv": delimited(rows, "\t"),
        "reviews.csv.gz": gzipped(table),
        "reviews.jsonl.zst": zstandard.ZstdCompressor(level=19, write_checksum=True).compress(source),
        "reviews.parquet": parquet(rows),
        **folder(rows),
    }


def read_delimited(data, delimiter):
    reader = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=delimiter)
    return [{**row, "stars": int(row["stars"])} for row in reader]


def check(source):
    """Returns the names of the formats whose rows differ from the source."""
    rows = load(source)
    text_files = folder(rows)
    readers = {
        "reviews.csv": lambda data: read_delimited(data, ","),
        "reviews.tsv": lambda data: read_delimited(data, "\t"),
        "reviews.csv.gz": lambda data: read_delimited(gzip.decompress(data), ","),
        "reviews.jsonl.zst": lambda data: load(zstandard.ZstdDecompressor().decompress(data)),
        "reviews.parquet": lambda data: pq.read_table(pa.BufferReader(data)).to_pylist(),
    }
    bad = []
    for name, reader in readers.items():
        path = EXAMPLES / name
        if not path.is_file() or reader(path.read_bytes()) != rows:
            bad.append(name)
    there = {
        path.relative_to(EXAMPLES).as_posix(): path.read_bytes()
        for path in (EXAMPLES / "aclImdb").rglob("*")
        if path.is_file()
    }
    if there != text_files:
        bad.append("aclImdb/")
    return bad


def main():
    parser = argparse.ArgumentParser(description="Convert examples/reviews.jsonl to the other formats.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare the existing files")
    arguments = parser.parse_args()
    source = (EXAMPLES / "reviews.jsonl").read_bytes()
    if not arguments.check:
        formats = make(source)
        shutil.rmtree(EXAMPLES / "aclImdb", ignore_errors=True)
        for name, data in formats.items():
            path = EXAMPLES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    bad = check(source)
    for name in bad:
        print(f"examples/{name} does not contain the rows of examples/reviews.jsonl", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
