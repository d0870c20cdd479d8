"""The losses that a run can name, one in each file: classes that derive from `loss.Loss`."""
