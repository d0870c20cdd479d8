"""Whatever deletes, renames or replaces does so in a few places, each of which knows that it is its own."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("experiments/**/*.py")])
DELETING = {"rmtree", "unlink", "remove", "removedirs", "rmdir", "rename", "renames", "move", "replace", "truncate"}
OWN = {  # who may, and why it is its own
    "src/weightdecay/files.py": "its temporary files, by a name that holds the process that made them",
    "src/weightdecay/workflow/shipping.py": "a shipped scale, if its every file is in SHA256SUMS, and its own folders",
    "src/weightdecay/ensemble/cache.py": "versions of compiled code that carry its marker",
    "src/weightdecay/workflow/turns.py": "Snakemake's lock, when the snakemake that held it was killed",
    "src/weightdecay/workflow/stages.py": "the checkpoint of a finished shard",
}
NO_PATHS = {"_lost(side).rename", "self.move"}  # a column of a data frame, an optimiser's step


def deletions(text: str) -> list[str]:
    """Calls that could delete a file or a folder: of `os`, `shutil` and of paths, which take one argument."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DELETING:
            of, name = ast.unparse(node.func.value), node.func.attr
            on_text = name in ("replace", "rename") and (len(node.args) != 1 or node.keywords)  # or on a data frame
            if of in ("os", "shutil") or not (on_text or name == "remove"):  # lists remove, paths do not
                found.append(f"{of}.{name}")
    return found


def test_only_few_modules_delete():
    found = {str(path.relative_to(ROOT)): deletions(path.read_text(encoding="utf-8")) for path in PROGRAMS}
    assert {name: calls for name, calls in found.items() if not set(calls) <= NO_PATHS}.keys() == OWN.keys()


def test_deletions_are_found():
    text = "os.remove(a)\np.unlink()\nshutil.rmtree(a)\nos.replace(a, b)\na.replace(b)\np.rename(b)\n"
    assert len(deletions(text)) == 6
    others = "s.replace('a', 'b')\nnames.remove(a)\nframe.replace([1], 2)\nframe.rename(columns=a)\nreplace(a, n=1)\n"
    assert deletions(others) == []
