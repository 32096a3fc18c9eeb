"""How fast is connrunner, beside peers that do the same work and beside what no program can beat? `python -m benchmarks`."""
