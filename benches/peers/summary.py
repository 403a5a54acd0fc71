"""Prints medians, ranges and ratios of the raw results of bench.py as Markdown.

python summary.py FILE...
"""

import collections
import json
import statistics
import sys

PRECISIONS = ("int8", "f32")


def markdown(paths):
    kinds = collections.defaultdict(list)
    for path in paths:
        with open(path) as file:
            for line in map(json.loads, file):
                # Two files may contain the same round number.
                kinds[line["kind"]].append(line | {"round": (path, line.get("round"))})
    parts = [machine(m) for m in kinds["machine"]]
    if kinds["speed"]:
        parts += [peaks(kinds["speed"]), *(speed(kinds["speed"], p) for p in PRECISIONS)]
    if kinds["first_label"]:
        parts.append(first_labels(kinds["first_label"]))
    parts.append(logits(kinds["logits"]))
    return "\n\n".join(parts)


def machine(line):
    versions = ", ".join(f"{name} {version}" for name, version in line["versions"].items())
    return (
        f"{line['cpu']}; shoal {line['commit']}; {versions}. {line['date'][:10]}: `{line['command']}`. "
        f"A mean review is {line['tokens'] / line['sequences']:.0f} tokens, {line['gflop_per_review']:.1f} GFLOP."
    )


def peaks(lines):
    rounds = {line["round"]: line["peak"] for line in lines}.values()
    rates = collections.defaultdict(list)
    for peak in rounds:
        for name, value in peak.items():
            if isinstance(value, (int, float)):
                rates[name].append(value)
    return "The core's rates: " + ", ".join(f"{name} {spread(values, 1)}" for name, values in rates.items()) + "."


def speed(lines, precision):
    """Ratios are computed within each round, under the same conditions of the core."""
    runs = collections.defaultdict(dict)
    for line in lines:
        if line["precision"] == precision:
            runs[line["runtime"]][line["round"]] = line
    cpu = {name: [r["reviews_per_s_cpu"] for r in rounds.values()] for name, rounds in runs.items()}
    order = sorted(cpu, key=lambda name: -statistics.median(cpu[name]))
    peers = [name for name in order if name != "shoal"]
    rows = []
    for name in order:
        wall = statistics.median(r["reviews_per_s_wall"] for r in runs[name].values())
        best = runs[peers[0]] if peers else {}
        shared = [n for n in runs[name] if n in best]
        ratios = [runs[name][n]["reviews_per_s_cpu"] / best[n]["reviews_per_s_cpu"] for n in shared]
        ratio = spread(ratios, 2) if ratios else ""
        rows.append((name, spread(cpu[name], 2), f"{wall:.2f}", ratio))
    return table((precision, "reviews/s by CPU time", "by wall time", "to the fastest peer"), rows)


def first_labels(lines):
    runs = collections.defaultdict(list)
    for line in lines:
        runs[line["text"], line["tokens"], line["runtime"], line["precision"]].append(line)
    order = sorted(runs, key=lambda key: (key[1], statistics.median(r["seconds"] for r in runs[key])))
    rows = [
        (
            f"{runtime} {precision}",
            tokens,
            spread([r["seconds"] for r in runs[key]], 3),
            f"{statistics.median(r['cpu_seconds'] for r in runs[key]):.3f}",
            f"{statistics.median(r['peak_mib'] for r in runs[key]):.0f}",
        )
        for key in order
        for _, tokens, runtime, precision in [key]
    ]
    return table(("process to its first label", "tokens", "seconds", "CPU seconds", "peak MiB"), rows)


def logits(lines):
    rows = [
        (f"{line['runtime']} {line['precision']}", f"{line['largest_difference']:.1e}", f"{line['largest_logit']:.2f}")
        for line in lines
    ]
    return table(("logits", "largest difference to shoal f32", "largest logit"), rows)


def spread(values, digits):
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(head, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    print(markdown(sys.argv[1:]))
