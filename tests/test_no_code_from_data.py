"""Nothing that is shipped, configured or stored can run code: no module asks a library for that."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("experiments/**/*.py")])
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "code", "codeop"}
OWN = {("loops.py", "exec")}  # of chains of ifs that it writes itself, over registered names
BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_METHODS = {
    *("unsafe_load", "full_load", "unsafe_load_all", "full_load_all", "read_pickle", "to_pickle"),
    *("system", "popen", "getoutput", "getstatusoutput"),
}


def unsafe(text: str) -> list[str]:
    """What in a program would run what it reads: "line: what"."""
    tree = ast.parse(text)
    safe_loaders = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES]
        if isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append(f"{node.lineno}: {node.id}")
        if isinstance(node, ast.Attribute) and node.attr in UNSAFE_METHODS:
            found.append(f"{node.lineno}: {node.attr}")
        if isinstance(node, ast.Call):
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            called = ast.unparse(node.func)
            if options.get("shell", "False") != "False":
                found.append(f"{node.lineno}: shell")
            if options.get("allow_pickle", "False") != "False":
                found.append(f"{node.lineno}: allow_pickle")
            if called == "torch.load" and options.get("weights_only") != "True":
                found.append(f"{node.lineno}: torch.load")
            if called in ("yaml.load", "yaml.load_all"):
                loader = options.get("Loader", ast.unparse(node.args[1]) if len(node.args) > 1 else "")
                if loader not in {"yaml.SafeLoader", "yaml.CSafeLoader", *safe_loaders}:
                    found.append(f"{node.lineno}: {called}")
    return found


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_runs_what_it_reads(path):
    assert [
        each for each in unsafe(path.read_text(encoding="utf-8")) if (path.name, each.split(": ")[1]) not in OWN
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from pickle import loads", "import joblib", "import marshal as m", "eval(x)", "f = exec"),
        *("yaml.load(x)", "yaml.load(x, yaml.Loader)", "yaml.load(x, Loader=yaml.FullLoader)", "yaml.unsafe_load(x)"),
        "class L(yaml.Loader):\n    pass\nyaml.load(x, Loader=L)",
        *("os.system(x)", "subprocess.run(x, shell=True)", "subprocess.run(x, shell=maybe)"),
        *("np.load(x, allow_pickle=True)", "torch.load(x)", "torch.load(x, weights_only=False)", "pd.read_pickle(x)"),
        "compile(x, 'a', 'exec')",
    ],
)
def test_what_is_looked_for_is_found(text):
    assert unsafe(text)


def test_what_is_safe_is_not_taken_for_it():
    text = "class L(yaml.SafeLoader):\n    pass\nyaml.load(x, Loader=L)\nyaml.safe_load(x)\nre.compile(x)\nnp.load(x)\n"
    assert unsafe(text + "torch.load(x, weights_only=True)\nsubprocess.run(x, shell=False)\nmodel.eval()\n") == []
