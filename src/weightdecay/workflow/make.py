"""Snakemake as the Makefile runs it: in surroundings of its own, and with one line when it is interrupted.

python -m weightdecay.workflow.make --cores 2 --config scale=smoke    takes the options of snakemake
"""

from snakemake.cli import main

if __name__ == "__main__":
    main()
