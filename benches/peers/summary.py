"""Medians and spread of the raw results that run.sh writes.

    python summary.py FILE...
"""

import collections
import json
import statistics
import sys

runs = collections.defaultdict(list)
peaks = []
for path in sys.argv[1:]:
    for line in open(path):
        if line.startswith("{"):
            run = json.loads(line)
            if "peer" in run:
                runs[run["peer"], run["order"]].append(run)
            elif "peak_gflops" in run:
                peaks.append(run["peak_gflops"])

medians = {}
for (peer, order), results in sorted(runs.items()):
    rates = [r["rps_cpu"] for r in results]
    medians[peer, order] = statistics.median(rates)
    operations = statistics.median(r["gflops_cpu"] for r in results)
    print(f"{peer:10} {order:8} {statistics.median(rates):6.3f} sequences/s CPU "
          f"({min(rates):.3f} to {max(rates):.3f}, {len(rates)} runs), "
          f"{statistics.median(r['rps_wall'] for r in results):.3f} wall, {operations:.1f} GFLOP/s")
if peaks:
    print(f"FMA peak   {statistics.median(peaks):.1f} GFLOP/s ({min(peaks):.1f} to {max(peaks):.1f})")
reference = medians.get(("ort_fp32", "arrival"))
for (peer, order), rate in medians.items():
    if reference and peer == "shoal":
        print(f"shoal {order} / ort_fp32: {rate / reference:.3f}")
