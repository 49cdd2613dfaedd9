"""`make bench`: medimg and a plain training loop side by side, in ratios; see `python -m benchmarks.bench --help`."""
