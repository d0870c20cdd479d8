"""Claims: what they say, how they are judged, and how two judgments compare."""
