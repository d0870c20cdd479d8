"""What claims.py and figures.py read of an experiment's criteria, found in their source text.

Thresholds are followed from `judge(results, criteria)`, or from wherever a function takes `.criteria` of something,
through variables, loops and calls of functions of the same folder. Nothing is imported or run.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from weightdecay.bounds import CLAIM
from weightdecay.modules import Module, module_of

EVERY = frozenset[str]()  # the ids of a criterion that may be any


@dataclass(frozen=True)
class Kind:
    """What an expression is known to be.

    `of`: `criteria` by id, a `table` of thresholds by id, one `criterion`, its `thresholds`, a dictionary of known
    `keys`, a `text`. `ids`: which criteria's, where there is one; which keys; which texts it may be.
    """

    of: str
    ids: frozenset[str] = EVERY


Names = dict[str, Kind]  # a function's variables, as far as they are known


class Readers:
    """Follows criteria and thresholds through the functions of modules, from one into those that it calls."""

    def __init__(self, modules: dict[str, Module]):
        self.modules = modules
        self.reads: list[tuple[Path, int, str, str | None]] = []  # file, line, claim, threshold (None: the claim alone)
        self.of_any: set[str] = set()  # thresholds that are read of whatever criterion
        self.given: set[str] = set()  # claims whose thresholds are handed to somebody
        self.lost: set[str] = set()  # claims whose thresholds go where they are not followed
        self.entered: set[tuple] = set()
        self.judged: list[str] = []  # the claims that are keys of a dictionary in `judge`; none if it has another form
        for module in modules.values():
            for function in module.functions.values():
                judges = module.path.name == "claims.py" and function.name == "judge" and len(function.args.args) == 2
                self.enter(module, function, {function.args.args[1].arg: Kind("criteria")} if judges else {})
                displays = [node for node in ast.walk(function) if isinstance(node, ast.Dict)] if judges else []
                keys = [key for display in displays for node in display.keys for key in _text(node)]
                self.judged += [key for key in keys if re.fullmatch(CLAIM, key)]

    @classmethod
    def of(cls, folder: Path) -> "Readers":
        """Those of claims.py, of figures.py and of what these import of their folder."""
        found: dict[str, Module] = {}
        waiting = [folder / "claims.py", folder / "figures.py"]
        while waiting:
            path = waiting.pop()
            if path.stem not in found and path.is_file():
                found[path.stem] = module_of(path)
                waiting += [path.with_name(f"{name}.py") for name, _ in found[path.stem].imported.values()]
        return cls(found)

    def written(self, name: str) -> bool:
        """Whether a text of the modules is, or one that they put together may be, this name."""
        return any(re.fullmatch(pattern, name) for pattern in self._patterns)

    @cached_property
    def _patterns(self) -> set[str]:
        nodes = [node for module in self.modules.values() for node in ast.walk(module.tree)]
        texts = [_text(node) for node in nodes if isinstance(node, ast.expr)]
        made = [[_text(part) for part in node.values] for node in nodes if isinstance(node, ast.JoinedStr)]
        patterns = {re.escape(text) for found in texts for text in found}
        return patterns | {
            "".join(re.escape(*part) if part else ".+" for part in parts) for parts in made if any(parts)
        }

    def enter(self, module: Module, function: ast.FunctionDef, names: Names) -> None:
        call = (module.path, function.name, frozenset(names.items()))
        if call not in self.entered:
            self.entered.add(call)
            Body(self, module, dict(names)).statements(function.body)


class Body:
    """Reads one function's statements in order; `names` are its variables."""

    def __init__(self, readers: Readers, module: Module, names: Names, local: dict[str, ast.FunctionDef] | None = None):
        self.readers, self.module, self.names = readers, module, names
        self.local = dict(local or {})  # functions within this one, by name

    def statements(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.any(node)

    def any(self, node: ast.AST | None) -> None:
        """Reads a statement or an expression whose value goes nowhere that is followed."""
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            self.assign(node.targets[0], node.value)
        elif isinstance(node, ast.For):
            self.loop(node.target, node.iter)
            self.statements([*node.body, *node.orelse])
        elif isinstance(node, ast.expr):
            kind = self.value(node)
            if kind is not None and kind.of in ("criterion", "thresholds"):
                self.readers.lost |= kind.ids
        elif isinstance(node, ast.FunctionDef):
            self.local[node.name] = node
            self.inner(node, {})
        elif node is not None:
            self.statements(ast.iter_child_nodes(node))

    def assign(self, target: ast.AST, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, its in zip(target.elts, value.elts, strict=True):
                self.assign(one, its)
        elif isinstance(target, ast.Name):
            kind = self.value(value)
            self.names.pop(target.id, None)
            if kind is not None:
                self.names[target.id] = kind
        else:
            self.any(value)
            self.forget(target)

    def loop(self, target: ast.AST, over: ast.expr) -> None:
        """`for id, words in criteria.items()` makes `words` a criterion, and the keys of a dictionary are texts."""
        self.forget(target)
        call = over.func if isinstance(over, ast.Call) else None
        kind = self.value(call.value) if isinstance(call, ast.Attribute) and call.attr == "items" else None
        if kind is None:
            self.any(over)
        elif kind.of == "thresholds":
            self.readers.lost |= kind.ids
        elif isinstance(target, ast.Tuple) and len(target.elts) == 2:
            first, second = target.elts
            if kind.of == "keys" and isinstance(first, ast.Name):
                self.names[first.id] = Kind("text", kind.ids)
            elif kind.of in ("criteria", "table") and isinstance(second, ast.Name):
                self.names[second.id] = Kind("criterion" if kind.of == "criteria" else "thresholds")

    def forget(self, target: ast.AST) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self.names.pop(node.id, None)

    def inner(self, node: ast.FunctionDef | ast.Lambda, given: Names) -> None:
        """A function within the function: it has these arguments, and reads the variables around it."""
        own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        names = {name: kind for name, kind in self.names.items() if name not in own} | given
        call = (self.module.path, node.lineno, frozenset(names.items()))
        if call not in self.readers.entered:
            self.readers.entered.add(call)
            body = Body(self.readers, self.module, names, self.local)
            body.statements(node.body if isinstance(node, ast.FunctionDef) else [node.body])

    def value(self, node: ast.expr) -> Kind | None:
        """What an expression is, after everything in it is read."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
            self.statements(node.values)
            return Kind("keys", frozenset(key.value for key in node.keys if isinstance(key.value, str)))
        if isinstance(node, ast.IfExp):
            self.any(node.test)
            return self.either(self.value(node.body), self.value(node.orelse))
        if isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.DictComp | ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return self.comprehension(node)
        elif isinstance(node, ast.Lambda):
            self.inner(node, {})
        else:
            self.statements(ast.iter_child_nodes(node))
        return None

    def either(self, first: Kind | None, second: Kind | None) -> Kind | None:
        """What one of two expressions is, as far as both are alike."""
        if first is not None and second is not None and first.of == second.of:
            return Kind(first.of, first.ids | second.ids)
        for kind in (first, second):
            if kind is not None and kind.of in ("criterion", "thresholds"):
                self.readers.lost |= kind.ids
        return None

    def attribute(self, node: ast.Attribute) -> Kind | None:
        kind = self.value(node.value)
        if kind is None:
            return Kind("criteria") if node.attr == "criteria" else None
        if kind.of == "criterion" and node.attr == "thresholds":
            return Kind("thresholds", kind.ids)
        if kind.of == "thresholds":
            self.readers.lost |= kind.ids
        return None

    def subscript(self, node: ast.Subscript) -> Kind | None:
        kind = self.value(node.value)
        keys = self.texts(node.slice)
        self.any(node.slice)
        if kind is None:
            if isinstance(node.value, ast.Attribute) and node.value.attr == "claims":
                self.note(node, keys, None)
            return None
        if kind.of in ("keys", "text", "criterion"):
            return None
        if kind.of == "thresholds":
            if not keys:
                self.readers.lost |= kind.ids
            for key in keys:
                self.note(node, kind.ids, key)
                if kind.ids == EVERY:
                    self.readers.of_any.add(key)
            return None
        self.note(node, keys, None)
        self.readers.given |= set(keys)
        return Kind("criterion" if kind.of == "criteria" else "thresholds", frozenset(keys))

    def texts(self, node: ast.expr) -> list[str]:
        """Every text that an expression may be; none where it may be another."""
        if isinstance(node, ast.Name) and node.id in self.names and self.names[node.id].of == "text":
            return sorted(self.names[node.id].ids)
        if isinstance(node, ast.IfExp):
            both = self.texts(node.body), self.texts(node.orelse)
            return [*both[0], *both[1]] if all(both) else []
        if isinstance(node, ast.JoinedStr):
            parts = [self.texts(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
            return ["".join(chosen) for chosen in product(*parts)]
        return _text(node)

    def note(self, node: ast.AST, ids: Iterable[str], name: str | None) -> None:
        self.readers.reads += [(self.module.path, node.lineno, id, name) for id in ids]

    def call(self, node: ast.Call) -> None:
        """Goes into a function of these modules with what it is given of criteria and thresholds."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        module, function = self.module, self.local.get(name) or self.module.functions.get(name)
        if function is None and name in self.module.imported:
            stem, name = self.module.imported[name]
            module = self.readers.modules.get(stem, module)
            function = module.functions.get(name)
        if function is None:
            self.any(node.func)
            self.statements([*node.args, *node.keywords])
            return
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        given = [*zip(parameters, node.args, strict=False), *((one.arg, one.value) for one in node.keywords)]
        kinds = {parameter: self.value(argument) for parameter, argument in given}
        names = {parameter: kind for parameter, kind in kinds.items() if kind is not None and parameter is not None}
        self.statements(node.args[len(parameters) :])
        if function is self.local.get(name):
            self.inner(function, names)
        else:
            self.readers.enter(module, function, names)

    def comprehension(self, node: ast.DictComp | ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Kind | None:
        inner = Body(self.readers, self.module, dict(self.names), self.local)
        for generator in node.generators:
            inner.loop(generator.target, generator.iter)
            inner.statements(generator.ifs)
        if not isinstance(node, ast.DictComp):
            inner.any(node.elt)
            return None
        inner.any(node.key)
        kind = inner.value(node.value)
        if kind is not None and kind.of in ("criterion", "thresholds") and kind.ids == EVERY:
            return Kind("criteria" if kind.of == "criterion" else "table")
        if kind is not None:
            self.readers.lost |= kind.ids
        return None


def _text(node: ast.expr | None) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
