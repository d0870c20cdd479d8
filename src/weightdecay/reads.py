"""What an experiment's programs read of its criteria by name, as far as their source text says it beyond doubt.

`t["low"]` is a threshold where all that `t` is ever set to are thresholds: of `criteria["A1"]`, or handed to a function
of the same folder. Nothing is imported or run, and whatever could mean something else counts for nothing.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from weightdecay.modules import Module, texts

CRITERIA = ("config.criteria", "inputs.config.criteria", "inputs.claims")  # by id, as the second argument of `judge`
Kinds = Mapping[str | None, str]  # by variable: criteria, a table of thresholds, or thresholds


class Read(NamedTuple):
    of: Literal["criteria", "thresholds"]
    name: str
    place: str


class Function(NamedTuple):
    module: Module
    node: ast.FunctionDef
    within: Sequence[ast.AST]
    calls: Sequence[ast.Call]  # of functions by their names, which it does not bind itself
    bound: Sequence[tuple[str, ast.expr | None]]  # every name that it binds, but for its arguments, to what


def reads(modules: dict[str, Module]) -> Iterator[Read]:
    """Whatever is read by its name, but for what a function tries, or asks for by `if "low" in t`."""
    functions = {
        (at, name): _function(module, node) for at, module in modules.items() for name, node in module.functions.items()
    }
    every = [node for function in functions.values() for node in function.within]
    tried = {id(node) for outer in every if isinstance(outer, ast.Try) for node in ast.walk(outer)}
    kinds: dict[tuple[str, str], Kinds] = {}
    while (found := _found(functions, kinds)) != kinds:
        kinds = found
    for of, function in functions.items():
        asked = {text for node in function.within if isinstance(node, ast.Compare) for text in texts(node.left)}
        for node in function.within:
            if isinstance(node, ast.Subscript) and id(node) not in tried and texts(node.slice):
                kind = _kind(kinds.get(of, {}), node.value)
                for text in set(texts(node.slice)) - asked if kind is not None else ():
                    place = f"{function.module.path}, line {node.lineno},"
                    yield Read("thresholds" if kind == "thresholds" else "criteria", text, place)


def _function(module: Module, function: ast.FunctionDef) -> Function:
    """A name is bound to None where that is not by a plain assignment."""
    within, own = list(ast.walk(function)), {id(argument) for argument in ast.walk(function.args)}
    others: Counter[str] = Counter()
    bound: list[tuple[str, ast.expr | None]] = []
    for node in within:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            targets = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value.elts if isinstance(value, ast.Tuple) else [getattr(value, "elt", None)] * len(targets)
            pairs = zip(targets, values if isinstance(target, ast.Tuple) else [value], strict=False)
            bound += [(one.id, its) for one, its in pairs if isinstance(one, ast.Name)]
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            others[node.id] += 1
        elif isinstance(node, ast.arg) and id(node) not in own:
            others[node.arg] += 1
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name):
            changes = getattr(node, "attr", "") in ("update", "setdefault") or not isinstance(node.ctx, ast.Load)
            others[node.value.id] += changes
        elif node is not function:  # an import, an exception, a match, a function within
            named = [getattr(node, attribute, None) for attribute in ("asname", "name", "rest")]
            others.update(name for name in named if isinstance(name, str))
    others.subtract(name for name, _ in bound)
    bound += [(name, None) for name in +others]
    names = {name for name, _ in bound}
    calls = [node for node in within if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return Function(module, function, within, [call for call in calls if call.func.id not in names], bound)


def _kind(kinds: Kinds, node: ast.AST | None) -> str | None:
    """What an expression is for certain."""
    if isinstance(node, ast.Name):
        return kinds.get(node.id)
    if isinstance(node, ast.Attribute) and node.attr == "thresholds" and isinstance(node.value, ast.Subscript):
        return "thresholds" if _kind(kinds, node.value.value) == "criteria" else None
    if isinstance(node, ast.Attribute) and node.attr in ("criteria", "claims"):
        return "criteria" if ast.unparse(node) in CRITERIA else None
    if isinstance(node, ast.Subscript):
        return "thresholds" if _kind(kinds, node.value) == "table" else None
    if isinstance(node, ast.DictComp) and isinstance(over := node.generators[0].iter, ast.Call):
        of_criteria = isinstance(over.func, ast.Attribute) and _kind(kinds, over.func.value) == "criteria"
        return "table" if of_criteria and ast.unparse(node.value).endswith(".thresholds") else None
    return None


def _found(functions: Mapping[tuple[str, str], Function], kinds: Mapping[tuple[str, str], Kinds]) -> dict:
    """The kinds of each function's variables, as far as they follow from these, and always are the same."""
    seen: dict[tuple[str, str], dict[str | None, set]] = defaultdict(lambda: defaultdict(set))
    for of, function in functions.items():
        own = kinds.get(of, {})
        for variable, value in function.bound:
            seen[of][variable].add(_kind(own, value))
        if of == ("claims", "judge") and len(function.node.args.args) == 2:
            seen[of][function.node.args.args[1].arg].add("criteria")
        for call in function.calls:
            called = function.module.imported.get(call.func.id, (of[0], call.func.id))
            if called in functions:
                parameters = [one.arg for one in functions[called].node.args.args]
                starred = any(isinstance(value, ast.Starred) for value in call.args)
                given = [*zip(parameters, call.args, strict=False), *((one.arg, one.value) for one in call.keywords)]
                for parameter, value in given:
                    seen[called][parameter].add(None if starred else _kind(own, value))
    return {
        of: {name: next(iter(some)) for name, some in variables.items() if len(some) == 1 and some != {None}}
        for of, variables in seen.items()
    }
