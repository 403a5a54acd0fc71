"""Runs a program once and prints its run time and its peak memory.

    python -I spawn.py PROGRAM [ARGUMENT...]

This is a separate, small process because Linux counts the memory of the spawning process (about 10 MiB here) as the
child's until the program is loaded. The result is correct only for programs that need more than that.
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
    sys.exit(f"{sys.argv[1]} failed with exit code {os.waitstatus_to_exitcode(status)}")
result = {
    "seconds": round(seconds, 4),
    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 4),
    "peak_mib": round(usage.ru_maxrss / 1024, 1),
}
print(json.dumps(result))
