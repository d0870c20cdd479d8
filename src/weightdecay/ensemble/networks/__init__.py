"""The networks that a run can name, one a file. To add one is to add a file that registers a `Network`."""
