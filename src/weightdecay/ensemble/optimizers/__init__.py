"""The optimisers that a run can name, one a file, each a class that derives from `optimizer.Optimizer`."""
