"""Runs Snakemake for the Makefile: in the environment of this project, and with one line when it is interrupted.

python -m weightdecay.workflow.make --cores 2 --config scale=smoke    (all options are Snakemake's)
"""

from snakemake.cli import main

if __name__ == "__main__":
    main()
