"""What weight decay does: ensembles of small networks, judged claims, figures and tables of the paper."""

from weightdecay import surroundings

__version__ = "0.1.0"

surroundings.enter()
