"""The losses that a run can name, one a file, each a class that derives from `loss.Loss`."""
