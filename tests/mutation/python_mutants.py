"""Mutants of a Python module: cosmic-ray's operators, and statements that are dropped."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutation.mutants import Mutant, changed_line

#: Of cosmic-ray's operators those that change a decision; most others make a type error, found at once.
OPERATORS = (
    *("AddNot", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ZeroIterationForLoop"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            *("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Lt_Gt", "Gt_GtE", "GtE_Gt", "Gt_Lt"),
            *("Is_IsNot", "IsNot_Is"),
        )
    ),
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "RShift_LShift", "LShift_RShift")
    ),
)


#: Lengths of waits, sizes of batches: a test that held one of these would only repeat it.
_FIGURE = re.compile(r"^([A-Z_][A-Z_0-9, ]* = |    \w+: [\w| ]+ = )")


def python_mutants(file: str, text: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    seen = {_meaning(text)}
    for name in OPERATORS:
        occurrence = 0
        while True:
            changed = mutate_code(text.encode(), get_operator(f"core/{name}")(), occurrence)
            if changed is None:
                break
            occurrence += 1
            yield from _new(file, text, changed, name.removeprefix("Replace"), seen)
    for changed, what in _dropped(text):
        yield from _new(file, text, changed, what, seen)


def _new(file: str, text: str, changed: str, what: str, seen: set[str]) -> Iterator[Mutant]:
    meaning, line = _meaning(changed), changed_line(text, changed)
    is_figure = what == "NumberReplacer" and _FIGURE.match(text.splitlines()[line - 1])
    if meaning not in seen and not is_figure:
        seen.add(meaning)
        yield Mutant(file=file, line=line, what=what, text=changed)


def _meaning(text: str) -> str:
    """Return what a module does: without annotations, imports for them, and how classes are decorated."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""  # Equal to nothing but other nonsense.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            _flatten(node.args)
        elif isinstance(node, ast.ClassDef):
            # `frozen` and `kw_only`: what they forbid is forbidden by mypy, too.
            node.decorator_list = []
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.test, node.body = ast.Constant(None), [ast.Pass()]
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
            node.args[0] = ast.Constant(None)
    return ast.unparse(tree)


def _flatten(arguments: ast.arguments) -> None:
    """Take away how arguments may be given: cosmic-ray takes the star before keywords for a product."""
    arguments.args = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for argument in arguments.args:
        argument.annotation = None
    arguments.defaults = [each for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None]
    arguments.posonlyargs, arguments.kwonlyargs, arguments.kw_defaults = [], [], []


def _dropped(text: str) -> Iterator[tuple[str, str]]:
    """Yield the module without one of its statements."""
    lines = text.split("\n")
    tree = ast.parse(text)
    # Of a class only the functions can be put in place.
    of_classes = {id(each) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Return | ast.Delete):
            continue
        if id(node) in of_classes:
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("log."):
            continue  # nothing depends on it
        if node.col_offset == 0 or node.end_lineno is None:
            continue  # a module without one of its names does not even load
        line = lines[node.lineno - 1]
        indent = line[: len(line) - len(line.lstrip())]
        kept = [*lines[: node.lineno - 1], f"{indent}pass", *lines[node.end_lineno :]]
        yield "\n".join(kept), f"dropped: {' '.join(line.split())[:60]}"
