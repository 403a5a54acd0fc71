"""Validates the simulator: compares the predictions of `shoal plan` from one calibration with real runs.

    python tools/validate_simulation.py reviews.jsonl OUTPUT.jsonl --shoal target/release/shoal [--records 1500] [--rounds 3]

Settings: the backends local and process, one and two concurrent functions, and three batch sizes, each run ROUNDS times, alternating.
Writes one line per setting: predicted and measured makespan and function time, with their relative differences. Every round
calibrates again directly before its runs, because the speed of a shared machine varies.

`--cloud` adds Lambda, emulated by ministack on the loopback interface (pip install ministack==1.5.33 boto3 zstandard). Its overheads,
which differ from those of Lambda, are learned from a run in batches of 50 at the same concurrency (`shoal plan --from-run`).
"""

import argparse
import contextlib
import json
import os
import pathlib
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
parser.add_argument("--cloud", action="store_true", help="also Lambda, emulated by ministack")
parser.add_argument("--bootstrap", help="the binary that runs as the Lambda function")
args = parser.parse_args()
model = ["--model", args.model] if args.model else []
settings = [
    (backend, functions, int(size))
    for backend in ("local", "process") + (("lambda",) if args.cloud else ())
    for functions in (1, 2)
    for size in args.batch_sizes.split(",")
]


STORE = "s3://lake/shoal"
environment = dict(os.environ)


def shoal(*words):
    return subprocess.run(
        [args.shoal, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


def call(*words):
    return json.loads(shoal(*words))


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
    for functions in (1, 2) if args.cloud else ():
        learned = measure(folder, records, "lambda", functions, 50)["run_dir"]
        plan = call(
            "plan", records, *model, "--backend", "lambda", "--json", "--calibration", saved, "--from-run", learned,
            "--batch-sizes", args.batch_sizes, "--concurrency", functions, "--memory", 1769, "--architecture", "x86_64",
        )
        for estimate in plan["estimates"]:
            predicted["lambda", functions, estimate["batch_size"]] = estimate
    return predicted


def measure(folder, records, backend, functions, size):
    name = f"run-{backend}-{functions}-{size}"
    where = f"{STORE}/runs/{name}" if backend == "lambda" else os.path.join(folder, name)
    return call(
        "run", records, *model, "-o", os.path.join(folder, name + ".csv"), "--run-dir", where, "--fresh", "--json", "--quiet",
        "--backend", backend, "--concurrency", functions, "--batch-size", size,
    )


def deploy(cloud):
    environment.update(cloud.variables)
    words = ["--env", f"AWS_ENDPOINT_URL={cloud.endpoint}", "--env", "AWS_ALLOW_HTTP=true", *model]
    if args.bootstrap:
        words += ["--bootstrap", args.bootstrap]
    shoal("deploy", "aws", "--store", STORE, *words)


def validate(folder):
    results = {setting: [] for setting in settings}
    records = os.path.join(folder, "records.jsonl")
    with open(args.input, encoding="utf-8") as source, open(records, "w", encoding="utf-8") as target:
        target.writelines(line for _, line in zip(range(args.records), source))
    for number in range(args.rounds):
        predicted = predict(folder, records)
        for setting in settings:
            estimate = predicted[setting]
            summary = measure(folder, records, *setting)
            functions_ms = summary["function_ms"]
            # Platforms also bill the initialization of an environment.
            billed_ms = functions_ms["total"] + (functions_ms["init"] if setting[0] == "lambda" else 0)
            results[setting].append(
                {
                    "predicted_s": estimate["seconds"],
                    "measured_s": summary["dispatch_seconds"],
                    "predicted_functions_s": estimate["function_seconds"],
                    "measured_functions_s": billed_ms / 1e3,
                }
            )
            print(number + 1, *setting, results[setting][-1], file=sys.stderr)
    return results


def report(results):
    with open(args.output, "w", encoding="utf-8") as out:
        command = "python tools/validate_simulation.py " + " ".join(sys.argv[1:])
        out.write(json.dumps({"command": command}) + "\n")
        print("| backend | concurrency | batch | makespan predicted | measured | error | function time error |")
        print("|---|---|---|---|---|---|---|")
        for setting, rounds in results.items():

            def median(value):
                return statistics.median(value(one) for one in rounds)

            off = median(lambda one: one["predicted_s"] / one["measured_s"] - 1)
            functions_off = median(lambda one: one["predicted_functions_s"] / one["measured_functions_s"] - 1)
            line = dict(zip(("backend", "functions", "batch_size"), setting))
            out.write(json.dumps(line | {"off": off, "functions_off": functions_off, "rounds": rounds}) + "\n")
            print(
                f"| {setting[0]} | {setting[1]} | {setting[2]} | {median(lambda one: one['predicted_s']):.2f} s |"
                f" {median(lambda one: one['measured_s']):.2f} s | {100 * off:+.1f} % | {100 * functions_off:+.1f} % |"
            )


with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    if args.cloud:
        from check_cloud import Cloud

        deploy(stack.enter_context(Cloud(pathlib.Path(folder))))
    report(validate(folder))
