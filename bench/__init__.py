"""Benchmarks: each module measures one figure and says how."""
