"""Runs a program once and prints how long it took, from its start to its end, and the most memory it held.

    python -I spawn.py PROGRAM [ARGUMENT...]

A process of its own, since Linux counts the memory of the process that spawned it (some 10 MiB here) as the child's own
until the program is loaded: what is measured should be larger than the measure.
"""

import json
import os
import sys
import time

quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
if status:
    sys.exit(f"{sys.argv[1]} ended with exit code {os.waitstatus_to_exitcode(status)}")
result = {
    "seconds": round(seconds, 4),
    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 4),
    "peak_mib": round(usage.ru_maxrss / 1024, 1),
}
print(json.dumps(result))
