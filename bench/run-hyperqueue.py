"""Runs the same tasks in HyperQueue's local cluster: COUNT CORES PROGRAM ARGS...; prints seconds from submit to the end."""

import sys
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

count, cores, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


def run(client, tasks):
    job = Job()
    for _ in range(tasks):
        job.program(command, stdout=None, stderr=None)
    start = time.monotonic()
    client.wait_for_jobs([client.submit(job)])
    return time.monotonic() - start


with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=cores))
    client = cluster.client()
    run(client, 2 * cores)
    print(run(client, count))
