"""`weightdecay bench`: the ensemble trainer beside its peers on the same work, in one process tree.

`cases` says what is trained. The contestants are in `torch_peers`, `jax_peer` and `trainer`, and run in the processes
of `workers`. `floor` computes the time that no program can beat, `contest` measures, and `report` writes the table, the
figure and the numbers.
"""
