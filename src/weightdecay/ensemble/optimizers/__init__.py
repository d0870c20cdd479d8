"""The optimisers that a run can name, one in each file: classes that derive from `optimizer.Optimizer`."""
