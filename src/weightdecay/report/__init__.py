"""Figures, LaTeX and Markdown made of results and judgments."""
