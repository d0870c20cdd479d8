"""The trainer. It trains a table of runs, R networks of one shape at a time, stacked on a leading replica axis."""
