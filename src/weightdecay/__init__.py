"""What weight decay does: ensembles of small networks, judged claims, figures and tables of the paper."""

__version__ = "0.1.0"
