"""What runs the programs: the plan of the pipeline, its turns, clusters, GPUs, and shipping."""
