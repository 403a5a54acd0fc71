"""Validates the simulator: what `shoal plan` predicts from one calibration, beside what runs really take.

    python tools/validate_simulation.py reviews.jsonl OUTPUT.jsonl --shoal target/release/shoal [--records 1500] [--rounds 3]

Settings: the backends local and process, one and two functions at a time, three batch sizes, each run ROUNDS times in turn.
A line each: predicted and measured makespan, and time of functions, with their relative differences. Every round calibrates
anew, right before its runs, since the speed of a shared machine changes by the minute.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("input")
parser.add_argument("output")
parser.add_argument("--shoal", default="shoal")
parser.add_argument("--model")
parser.add_argument("--records", type=int, default=1500)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch-sizes", default="25,100,333")
args = parser.parse_args()
model = ["--model", args.model] if args.model else []
settings = [
    (backend, functions, int(size))
    for backend in ("local", "process")
    for functions in (1, 2)
    for size in args.batch_sizes.split(",")
]


def call(*words):
    done = subprocess.run([args.shoal, *map(str, words)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def predict(folder, records):
    saved = os.path.join(folder, "calibration.json")
    if os.path.exists(saved):
        os.remove(saved)
    call("plan", records, *model, "--backend", "local", "--json", "--save-calibration", saved)
    predicted = {}
    for backend in ("local", "process"):
        plan = call(
            "plan", records, *model, "--backend", backend, "--json", "--calibration", saved,
            "--batch-sizes", args.batch_sizes, "--concurrency", "1,2",
        )
        for estimate in plan["estimates"]:
            predicted[backend, estimate["concurrency"], estimate["batch_size"]] = estimate
    return predicted


def measure(folder, records, backend, functions, size):
    run = os.path.join(folder, f"run-{backend}-{functions}-{size}")
    return call(
        "run", records, *model, "-o", run + ".csv", "--run-dir", run, "--fresh", "--json", "--quiet",
        "--backend", backend, "--concurrency", functions, "--batch-size", size,
    )


results = {setting: [] for setting in settings}
with tempfile.TemporaryDirectory() as folder:
    records = os.path.join(folder, "records.jsonl")
    with open(args.input, encoding="utf-8") as source, open(records, "w", encoding="utf-8") as target:
        target.writelines(line for _, line in zip(range(args.records), source))
    for number in range(args.rounds):
        predicted = predict(folder, records)
        for setting in settings:
            estimate = predicted[setting]
            summary = measure(folder, records, *setting)
            results[setting].append(
                {
                    "predicted_s": estimate["seconds"],
                    "measured_s": summary["dispatch_seconds"],
                    "predicted_functions_s": estimate["function_seconds"],
                    "measured_functions_s": summary["function_ms"]["total"] / 1e3,
                }
            )
            print(number + 1, *setting, results[setting][-1], file=sys.stderr)

with open(args.output, "w", encoding="utf-8") as out:
    command = "python tools/validate_simulation.py " + " ".join(sys.argv[1:])
    out.write(json.dumps({"command": command}) + "\n")
    print("| backend | at a time | batch | makespan predicted | measured | off | function time off |")
    print("|---|---|---|---|---|---|---|")
    for setting, rounds in results.items():
        middle = lambda field: statistics.median(one[field] for one in rounds)
        off = lambda what: statistics.median(one[f"predicted_{what}"] / one[f"measured_{what}"] - 1 for one in rounds)
        line = dict(zip(("backend", "functions", "batch_size"), setting)) | {"rounds": rounds}
        line |= {"off": off("s"), "functions_off": off("functions_s")}
        out.write(json.dumps(line) + "\n")
        print(
            f"| {setting[0]} | {setting[1]} | {setting[2]} | {middle('predicted_s'):.2f} s | {middle('measured_s'):.2f} s |"
            f" {100 * line['off']:+.1f} % | {100 * line['functions_off']:+.1f} % |"
        )
