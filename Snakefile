# The whole pipeline: train -> merge, compute -> claims -> ledger, figures -> paper.
#   snakemake --cores N --config scale=smoke|laptop|paper device=auto|cpu|cuda
#   snakemake --cores N --config results=reference    builds all from the shipped results in data/reference/
#   snakemake --cores N reference                     starts the line above
#   snakemake --cores N verify                        compares this machine's results with the shipped ones of the scale
# Each experiments/<name>/ with a config.yaml is one finding. To add a finding, add a folder; this file stays as it is.
import os
import shlex
import sys

sys.path.insert(0, os.path.join(workflow.basedir, "src"))  # use this checkout's package, installed or not

try:
    from weightdecay import errors, surroundings
    from weightdecay.workflow import cluster, pipeline, turns
except ModuleNotFoundError as error:
    sys.exit(f"error: {error} where snakemake runs ({sys.executable}): install requirements.txt there, or use make.")

surroundings.take_on(WEIGHTDECAY_PYTHON=pipeline.python(workflow.deployment_settings.deployment_method))
# Braces in a path are doubled, as Snakemake reads them as wildcards.
ENVIRONMENT = os.path.join(workflow.basedir, "environment.yml").replace("{", "{{").replace("}", "}}")

# A job in another process reads this file again. It decides nothing: its --config holds what was decided here.
here = workflow.is_main_process
local = here and workflow.nodes is None  # otherwise jobs are sent to a cluster

try:
    plan = pipeline.Plan(config, local)
except errors.WeightDecayError as error:
    sys.exit(f"error: {error}")


def in_a_sentence(function):
    try:
        return function()
    except errors.WeightDecayError as error:
        sys.exit(f"error: {error}")


workflow.config_settings.config_args = [f"{key}={value}" for key, value in plan.decided.items()]
turns.guard(workflow, plan)
RESULTS = plan.results  # the folder of everything that is made here

if local:
    # One training at a time on one GPU, unless --resources gpu=N says otherwise. A cluster manages its GPUs itself.
    workflow.global_resources.setdefault("gpu", 1)


wildcard_constraints:
    experiment="|".join(plan.findings),
    computation="|".join(sorted(set().union(*plan.computations.values()))) or "none",


# On a cluster, these rules still run on this machine: they are short, print something, or need this machine's TeX.
localrules:
    all,
    reference,
    verify,
    merge,
    ledger,
    overview,
    paper,


rule all:
    input:
        [plan.read(name, "runs", "history") for name in plan.findings],
        f"{RESULTS}/claims.json",
        plan.overview,
        [[*plan.figures(name), *plan.tables(name)] for name in plan.findings],
        "paper/main.pdf" if plan.engine else [],


onstart:
    try:
        cluster.choose_status_command(workflow.executor_settings)
    except errors.WeightDecayError as error:
        sys.exit(f"error: {error}")


onsuccess:
    if not plan.engine:
        print("Everything but paper/main.pdf is built: install latexmk with TeX Live, or tectonic, and run again.")


onerror:
    if line := pipeline.lack_of_space():
        print(line, file=sys.stderr)


# A target cannot choose the results, as Snakemake reads targets after this file. So this rule starts another Snakemake.
rule reference:
    input:
        rules.all.input if plan.from_reference else [],
    log:
        "results/reference/logs/reference.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        command=lambda _: turns.within(workflow, config.get("scale")),
    message:
        "Build everything from the shipped results"
    shell:
        "{params.command} 2>&1 | tee {log}" if not plan.from_reference else "true > {log}"


if plan.stale:
    # This file is made now, so it is newer than the plan's files, and Snakemake makes those again.
    CHANGED = workflow.snakemake_tmp_dir / "changed"
    CHANGED.touch()

    # The first job puts into place what `turns.guard` has written. A dry run shows what depends on the plan, and writes
    # nothing.
    rule write_plan:
        input:
            lambda _: str(CHANGED),
        output:
            plan.stale,
        log:
            f"{RESULTS}/logs/plan.log",
        localrule: True
        conda:
            ENVIRONMENT
        params:
            written=lambda _: shlex.quote(f"{workflow.snakemake_tmp_dir / turns.PLAN}/."),
        message:
            "Write the files of the plan that have changed"
        shell:
            "cp -R {params.written} . > {log} 2>&1"


rule verify:
    input:
        lambda _: in_a_sentence(plan.to_compare),
    log:
        f"{RESULTS}/logs/verify.log",
    conda:
        ENVIRONMENT
    params:
        made=lambda _: RESULTS,
        shipped=plan.shipped,
    message:
        "Compare {params.made} with {params.shipped}"
    shell:
        '"$WEIGHTDECAY_PYTHON" -m weightdecay compare {params.made} {params.shipped} > {log} 2>&1 && cat {log}'


# One job for each shard. Its inputs are what the result depends on: the table of runs and the fingerprint of the code.
rule train:
    input:
        table=f"{RESULTS}/{{experiment}}/table.jsonl",
        code=lambda wildcards: plan.code(wildcards.experiment, "train"),
    output:
        f"{RESULTS}/{{experiment}}/shards/{{shard,\\d+}}of{{shards,\\d+}}.parquet",
    log:
        f"{RESULTS}/{{experiment}}/logs/train-{{shard}}of{{shards}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=int(plan.device == "cuda"),
        mem_mb=1536,
    params:
        scale=plan.scale,
        device=plan.device,
    message:
        "Train {wildcards.experiment}, shard {wildcards.shard} of {wildcards.shards} (progress: {log})"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay train {wildcards.experiment} --scale {params.scale}'
        " --device {params.device} --shard {wildcards.shard}/{wildcards.shards} --output {output} > {log} 2>&1"


rule merge:
    input:
        table=f"{RESULTS}/{{experiment}}/table.jsonl",
        shards=lambda wildcards: [
            f"{RESULTS}/{wildcards.experiment}/shards/{shard}.parquet" for shard in plan.shards[wildcards.experiment]
        ],
    output:
        runs=f"{RESULTS}/{{experiment}}/runs.parquet",
        history=f"{RESULTS}/{{experiment}}/history.parquet",
    log:
        f"{RESULTS}/{{experiment}}/logs/merge.log",
    conda:
        ENVIRONMENT
    params:
        scale=plan.scale,
    message:
        "Join the shards of {wildcards.experiment}"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay merge {wildcards.experiment} {input.shards}'
        " --scale {params.scale} > {log} 2>&1"


# A computation needs no training: a function of compute.py. It runs again when its arguments or its code change.
rule compute:
    input:
        arguments=f"{RESULTS}/{{experiment}}/computations/{{computation}}.json",
        code=f"{RESULTS}/{{experiment}}/code/compute.txt",
    output:
        f"{RESULTS}/{{experiment}}/{{computation}}.parquet",
    log:
        f"{RESULTS}/{{experiment}}/logs/compute-{{computation}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    params:
        scale=plan.scale,
    message:
        "Compute {wildcards.computation} of {wildcards.experiment}"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay compute {wildcards.experiment} {wildcards.computation}'
        " --scale {params.scale} --output {output} > {log} 2>&1"


rule claims:
    input:
        tables=lambda wildcards: plan.read(wildcards.experiment, "runs", "history"),
        computed=lambda wildcards: plan.computed(wildcards.experiment),
        shipped=lambda wildcards: plan.stamp(wildcards.experiment),
        code=f"{RESULTS}/{{experiment}}/code/claims.txt",
    output:
        f"{RESULTS}/{{experiment}}/claims.json",
    log:
        f"{RESULTS}/{{experiment}}/logs/claims.log",
    conda:
        ENVIRONMENT
    params:
        scale=lambda wildcards: plan.scales[wildcards.experiment],
        trained=lambda wildcards: plan.trained(wildcards.experiment),
    message:
        "Judge the claims of {wildcards.experiment}"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay judge {wildcards.experiment} --scale {params.scale}'
        " --results {params.trained} --output {output} > {log} 2>&1"


# Joins the judgments of all findings: the ledger, its LaTeX table, and every number of the paper as a macro.
rule ledger:
    input:
        claims=expand(f"{RESULTS}/{{experiment}}/claims.json", experiment=plan.findings),
        runs=[plan.read(name, "runs") for name in plan.findings],
        shipped=[plan.stamp(name) for name in plan.findings],
        scale="paper/scale.txt",
        code=f"{RESULTS}/code/ledger.txt",
    output:
        f"{RESULTS}/claims.json",
        "paper/tables/claims.tex",
        "paper/tables/builds.tex",
        "paper/numbers.tex",
    log:
        f"{RESULTS}/logs/ledger.log",
    conda:
        ENVIRONMENT
    params:
        sources=lambda _: " ".join(f"--results {folder}" for folder in plan.sources),
        judged=lambda _: RESULTS,
    message:
        "Join the judgments of all claims"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay claims {params.sources}'
        " --output {params.judged} --paper paper > {log} 2>&1"


# All claims by verdict, on two pages.
rule overview:
    input:
        claims=f"{RESULTS}/claims.json",
        scale="paper/scale.txt",
        code=f"{RESULTS}/code/overview.txt",
    output:
        plan.overview,
    log:
        f"{RESULTS}/logs/overview.log",
    conda:
        ENVIRONMENT
    message:
        "Draw the overview of all claims"
    shell:
        'exec "$WEIGHTDECAY_PYTHON" -m weightdecay overview --claims {input.claims}'
        " --figures paper/figures > {log} 2>&1"


for name in plan.findings:

    rule:
        name:
            f"figures_{name}"
        input:
            tables=plan.read(name, "runs", "history"),
            computed=plan.computed(name),
            shipped=plan.stamp(name),
            claims=f"{RESULTS}/{name}/claims.json",
            scale="paper/scale.txt",
            code=plan.code(name, "figures"),
        output:
            *plan.figures(name),
            *plan.tables(name),
        log:
            f"{RESULTS}/{name}/logs/figures.log",
        conda:
            ENVIRONMENT
        params:
            experiment=name,
            scale=plan.scales[name],
            trained=lambda _, name=name: plan.trained(name),
        message:
            "Draw {params.experiment}"
        shell:
            'exec "$WEIGHTDECAY_PYTHON" -m weightdecay draw {params.experiment} --scale {params.scale}'
            " --results {params.trained} --claims {input.claims}"
            " --figures paper/figures --tables paper/tables > {log} 2>&1"


rule paper:
    input:
        text=plan.paper_text(),
        numbers=["paper/numbers.tex", "paper/tables/claims.tex", "paper/tables/builds.tex"],
        figures=[plan.overview, *([*plan.figures(name), *plan.tables(name)] for name in plan.findings)],
        scale="paper/scale.txt",
    output:
        "paper/main.pdf",
    log:
        f"{RESULTS}/logs/paper.log",
    conda:
        ENVIRONMENT
    params:
        typeset={
            "latexmk": "latexmk -norc -pdf -latexoption=-no-shell-escape -interaction=nonstopmode -halt-on-error -file-line-error -outdir=build",
            "tectonic": "tectonic --outdir build",
        }.get(plan.engine),
    message:
        "Typeset {output}"
    shell:
        "(mkdir -p paper/build && cd paper && {params.typeset} main.tex && mv build/main.pdf main.pdf) > {log} 2>&1"
