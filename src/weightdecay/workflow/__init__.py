"""Runs the programs: the stages and the plan of the pipeline, its lock, clusters, GPUs, comparing and shipping."""
