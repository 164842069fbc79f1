"""What the kernel's block layer tells of requests, by several tools, as traces and latencies."""
