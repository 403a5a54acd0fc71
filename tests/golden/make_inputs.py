"""Makes the inputs of the golden tests, tests/golden/inputs.

Needs Python 3.9 or newer with two packages:

    pip install pyarrow==26.0.1 zstandard==0.25.0
    python tests/golden/make_inputs.py

Two runs with the same package versions write the same bytes. A change of an input changes the
golden files too: see crates/cli/tests/it/golden.rs.
"""

import datetime
import decimal
import gzip
import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

GOLDEN = Path(__file__).resolve().parent
OUT = GOLDEN / "inputs"
SAMPLE = GOLDEN.parents[1] / "examples" / "reviews.jsonl"

# A record may have at most 64 MiB.
OVERSIZED = (64 << 20) + 1

WORDS = """the a and but not no of in with is was it its this that film movie plot actor scene story music good
great bad poor dull bright slow fast sad love hate watch never always too very best worst year people""".split()

SENTENCE = "It was never a good film, but the music and the slow scenes were lovely; I saw it again! "
ODD_TEXTS = [
    "",
    " ",
    "good",
    "The movie was GREAT!",
    "A dull, dull plot... and the worst acting of the year.",
    "Café naïve Über: ÉCLAIR? e\u0301 a\u030a 100%",
    "日本の映画 is good, 映画映画",
    "tabs\tand\nnewlines\r\n and \u00a0 no-break \u200b zero \ufffd width \u0000 nul \u2028 line",
    "[CLS] markers [SEP] inside [MASK] the text [UNK] [sep]",
    "unknownlettersß€😀 and a" + "b" * 120 + " long word",
    SENTENCE,
    SENTENCE * 3,
    SENTENCE * 12,
    "<br /><br />Don't watch it: it's 'bad' -- really/bad & (too) long.",
]


def write(name, content):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def texts():
    """Texts of every kind for the small models: odd ones, and some of 1 to 70 words."""
    rows = [{"id": f"odd-{index}", "text": text} for index, text in enumerate(ODD_TEXTS)]
    draw = random.Random(7)
    for index in range(40):
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, 70))]
        rows.append({"id": f"words-{index}", "text": " ".join(words)})
    # Names of labels in every way that they may be written, for --label-column.
    golds = ["label A", "LABEL B", "1", 0, None, "label c", "other", 2, "7"]
    for index, row in enumerate(rows):
        row["gold"] = golds[index % len(golds)]
    write("texts.jsonl", lines(rows))
    few = lines(rows[:14:2])
    write("few.jsonl.gz", gzip.compress(few.encode(), mtime=0))
    write("few.jsonl", few)
    # A file of two compressed streams, one behind the other, is one input.
    half = [lines(rows[:14:2][:3]).encode(), lines(rows[:14:2][3:]).encode()]
    write("two-members.jsonl.gz", b"".join(gzip.compress(part, mtime=0) for part in half))
    compressor = zstandard.ZstdCompressor(level=19, write_checksum=True)
    write("two-frames.jsonl.zst", b"".join(compressor.compress(part) for part in half))


def reviews():
    """A few reviews for the slow instruction set, and one that is longer than the bundled model reads."""
    rows = [json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()[:6]]
    write("reviews-6.jsonl", lines(rows))
    long = {"id": "long", "text": " ".join(row["text"] for row in rows) * 5, "label": "positive"}
    write("reviews-long.jsonl", lines([long, rows[0], {**rows[1], "text": ""}]))


def columns_jsonl():
    """Kept columns of every type, with the JSON text in unusual but valid forms."""
    write(
        "columns.jsonl",
        '{"id":"a","text":"good film","int":1,"float":1.5,"bool":true,"mixed":1,"big":12345678901234567890,'
        '"list":[1, 2,  3],"object":{"b": {"c": null}, "a": "ü"},"label":"x","score":9,"größe":"naïve 映画 😀"}\n'
        '{"id":"b","text":"bad, \\"dull\\"\\nplot","int":null,"float":2,"bool":false,"mixed":"two","big":-7,'
        '"list":[],"object":{},"label":"y","score":"nine","größe":"\\u00fc \\ud83d\\ude00 \\u0000 \\u001f \\/ \\\\"}\n'
        '{ "id" : "c" , "text" : "never again" , "int" : -3 , "float" : -0.25 , "bool" : null , "mixed" : [3] ,'
        ' "big" : 0 , "label" : null , "score" : null }\n'
        '{"id":"d","text":"a \\"quoted\\" word, and more","int":9223372036854775807,"float":1e-7,"bool":true,'
        '"mixed":{"k":"v"},"list":null,"object":"text","label":"comma, quote \\" and\\r\\nbreak","score":1.0,"größe":""}\n'
        '{"id":"e","text":"twice","text":"the last one counts","int":-9223372036854775808,"float":1E+5,"bool":false,'
        '"mixed":1.0,"big":1,"list":[[["deep"]]],"object":{"x":1},"label":" spaces ","score":-0.0,"größe":"\\t tab"}\n'
        '{"id":"f","text":"","int":0,"float":0.1,"mixed":true,"label":"","score":123456789.123456789}\n',
    )


def columns_text():
    """The same kinds of fields in CSV and TSV: quotes, line breaks, separators, empty fields, blank lines."""
    write(
        "columns.csv",
        "\ufeff\n\nid,text,number,note,größe,label,score\n"
        'a,"two\nlines",1,"say ""no"", twice",ü,x,1\n'
        "\n"
        "b,plain words,1.50,,映画,y,\n"
        'c,"comma, and more",-0,"\tspaces  ",😀,,3\n'
        "\ufeffd,mark,1e5,it's 5\" wide,,z,4\n"
        'e,"ends with quote""",007,"",ß,"a,b",5\n\n'
        "f,no line break at the end,true,NULL,null,label,NaN",
    )
    write(
        "columns-crlf.csv",
        'id,text,note\r\n1,"two\r\nlines",x\r\n\r\n2,good,"a\r\nb"\r\n3,bad,"c\nd"\r\n',
    )
    write(
        "columns.tsv",
        'id\ttext\tnumber\tnote\na\tone, two\t1\tx "y" z\nb\t"a\ttab"\t-2.50\t"say ""no"""\nc\tslow film\t\t\n',
    )


def ids():
    """Ids of every kind."""
    rows = ["good film", "bad film", "the worst", "never again"]
    for name, values in {
        "ids-numbers": [7, -8, 0, 9007199254740993],
        "ids-floats": [1, 2.50, 1e300, -0.0],
        "ids-mixed": [1, "two", None, [3]],
        "ids-large": [18446744073709551615, 1, 2, 3],
        "ids-strings": ["a", "", "ü \"quoted\", and\nbroken", "a"],
    }.items():
        write(f"{name}.jsonl", lines({"id": i, "text": t} for i, t in zip(values, rows)))
    # Some records have no id.
    write("ids-some.jsonl", lines([{"id": 1, "text": rows[0]}, {"text": rows[1]}, {"id": 3, "text": rows[2]}]))
    # None has one, but a column has another name.
    write("ids-none.jsonl", lines({"key": f"k{n}", "text": t} for n, t in enumerate(rows)))
    write("ids-none.csv", "key,text\n" + "".join(f"k{n},{t}\n" for n, t in enumerate(rows)))
    write("ids-some.csv", "id,text\n1,good film\n,bad film\n003,the worst\n")


def columns_parquet():
    """Columns of many types in two row groups."""
    utc = datetime.timezone.utc
    table = pa.table(
        {
            "id": pa.array([5, 6, 7, 8, 9], pa.int32()),
            "text": pa.array(["good film", "bad \"film\",\nreally", "日本の映画", "", "the worst"], pa.large_string()),
            "i8": pa.array([-128, 127, None, 0, 1], pa.int8()),
            "u64": pa.array([2**64 - 1, 0, None, 1, 2], pa.uint64()),
            "f32": pa.array([0.1, -0.0, 1e-7, 3.4e38, None], pa.float32()),
            "f64": pa.array([0.1, 1e300, -1e-300, 5e-324, float("nan")], pa.float64()),
            "inf": pa.array([float("inf"), float("-inf"), 1.0, 1e16, 123456789.125], pa.float64()),
            "bool": pa.array([True, False, None, True, False]),
            "date": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1969, 12, 31)] + [datetime.date(1, 1, 1)] * 2),
            "time": pa.array([datetime.datetime(2020, 2, 29, 12, 30, 0, 123456)] * 4 + [None], pa.timestamp("us")),
            "utc": pa.array([datetime.datetime(2020, 2, 29, 12, 30, tzinfo=utc)] * 4 + [None], pa.timestamp("ms", "+00:00")),
            "zone": pa.array([datetime.datetime(2020, 2, 29, 12, 30, tzinfo=utc)] * 4 + [None], pa.timestamp("ms", "UTC")),
            "clock": pa.array([datetime.time(23, 59, 59)] * 4 + [None], pa.time32("s")),
            "decimal": pa.array([decimal.Decimal("12.30"), decimal.Decimal("-0.01"), None] * 1 + [decimal.Decimal("0")] * 2, pa.decimal128(9, 2)),
            "list": pa.array([[1, None, 3], [], None, [4], [5, 6]], pa.list_(pa.int32())),
            "struct": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": "y \"z\""}, None, {"a": 2, "b": None}, {"a": 3, "b": ""}]),
            "dictionary": pa.array(["red", "blue", None, "red", "blue"]).dictionary_encode(),
            "binary": pa.array([b"bytes", b"", None, "ü".encode(), b"x"], pa.binary()),
            "null": pa.nulls(5),
            "label": pa.array(["x", "y", None, "z", "x"]),
        }
    )
    write("columns.parquet", parquet(table, 3))
    write("ids-strings.parquet", parquet(pa.table({"id": ["a", None, "c"], "text": ["good", "bad", "slow"]}), 2))
    write("ids-none.parquet", parquet(pa.table({"text": ["good", "bad", "slow"]}), 2))


def parquet(table, rows):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=rows, compression="snappy")
    return sink.getvalue().to_pybytes()


def bad():
    """Records that cannot be worked on, beside some that can."""
    write(
        "bad.jsonl",
        b'{"id":"a","text":"fine"}\n{"id":"null","text":null}\n{"id":"none"}\n\n{"id":"number","text":5}\n'
        b'{"id":8,"text":["x"]}\n{"id":"b","text":""}\n{"id":"bytes","text":"x\xff"}\n{"id":"broken","text":"x\n'
        b'[1]\nplain words\n{"id":"half","text":"a \\ud83d b"}\n{"id":{"k": 1},"text":true}\n'
        b'{"id":1.50,"text":{"a":1}}\n{"id":"more","text":"a"} x\n{"id":"deep","text":"a","x":' + b"[" * 200 + b"\n"
        b'{"id":"\xc3\xbc \\"q\\"","text":-1e5}\n{}\n{"id":"c","text":"end"}',
    )
    write(
        "bad.csv",
        b"id,text,more\r\na,fine,1\r\nshort,x\r\nlong,x,2,3\r\nempty,,4\r\nbytes,x\xff\xfe,5\r\n\r\n"
        b'b,"two\r\nlines",6\r\n\xff,bytes in the id,6\r\nkept,bytes in a kept column,\xff\r\nopen,"never closed,7\r\nc,lost,8\r\n',
    )
    write("bad.tsv", b"id\ttext\na\tfine\nshort\n\xc3\xbc\tx\xff\nempty\t\nb\tgood\n")
    write("bad-only.jsonl", lines([{"id": 1, "text": None}, {"id": 2}]) + lines([{"id": 3, "text": "fine"}]))
    texts = pa.array([b"fine", None, b"x\xff", b"good", b"\xc3", "ü".encode(), b""], pa.binary())
    table = pa.table({"id": pa.array(range(100, 107), pa.int64()), "text": texts})
    write("bad.parquet", parquet(table, 4))
    write("bad-folder/neg/0_1.txt", "awful")
    write("bad-folder/neg/1_2.txt", b"aw\xfful")
    write("bad-folder/pos/0_9.txt", 'great "one"\r\nof two lines')
    write("bad-folder/pos/10_8.txt", "")


def oversized():
    """Records of more than 64 MiB. Packed, they take some kilobytes."""
    compressor = zstandard.ZstdCompressor(level=19, write_checksum=True)
    word = b"long " * (OVERSIZED // 5 + 1)
    write(
        "oversized.jsonl.zst",
        compressor.compress(b'{"id":"a","text":"good"}\n{"id":"big","text":"' + word + b'"}\n{"id":"b","text":"bad"}\n'),
    )
    write("oversized.csv.zst", compressor.compress(b"id,text\na,good\nbig," + word + b"\nb,bad\n"))


def folders():
    """Folders of text files: with the names that become labels, with other names, and with names in several levels."""
    write("folder/pos/0_9.txt", "a great film")
    write("folder/pos/2_10.txt", "love it,\n\"really\"\n")
    write("folder/neg/10_1.txt", "the worst")
    write("folder/neg/1_3.txt", "dull and slow")
    write("folder/neg/notes.md", "not a record")
    write("folder-plain/b.txt", "second")
    write("folder-plain/a.txt", "first")
    write("folder-plain/ü ö.txt", "third: 映画")
    write("several/b.csv", "text\nthird film\nfourth film\n")
    write("several/a.csv", "text\nfirst film\nsecond film\n")
    write("several/c [x].csv", "text\nfifth film\n")
    write("several/d.jsonl", lines([{"text": "sixth film"}, {"text": None}, {"text": "seventh film"}]))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for make in (texts, reviews, columns_jsonl, columns_text, ids, columns_parquet, bad, oversized, folders):
        make()


main()
