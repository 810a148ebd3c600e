"""Side-by-side measurements against named peers; `python -m benchmarks` runs them and writes RESULTS.md."""
