"""Claims: what they say, how they are judged, and how two judgments of one claim compare."""
