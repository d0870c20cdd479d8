"""`weightdecay bench`: the ensemble trainer beside its peers on the same work, in one process tree.

`cases` says what is trained, `torch_peers`, `jax_peer` and `trainer` are the
contestants, `workers` the processes they run in, `floor` what no program can beat, `contest` the measurement, and
`report` its table, figure and numbers.
"""
