"""The networks that a run can name, one in each file. To add a network, add a file that registers a `Network`."""
