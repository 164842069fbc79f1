"""What fio writes: iologs, logs of latencies, and JSON."""
