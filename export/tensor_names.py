"""What a tensor's name and place in its file tell: its role in a BatchNorm, its order, its neighbours.

Names are only hints; the shapes decide (see `perframe.export.recognise`).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

Role = Literal["weight", "bias", "running_mean", "running_var"]
Shape = tuple[int, ...]

# The last word of a name -> its role, for torch, TensorFlow and Caffe conversions.
_SUFFIXES: tuple[tuple[Role, str], ...] = (
    ("running_mean", r"(?:running_|moving_)?mean"),
    ("running_var", r"(?:running_|moving_)?var(?:iance)?"),
    ("weight", r"weight|gamma|scale"),
    ("bias", r"bias|beta"),
)
_ROLE = re.compile("|".join(f"(?P<{role}>(?<![a-z]){pattern})$" for role, pattern in _SUFFIXES))
# Splitting by it puts the numbers at the odd places. Python refuses to read integers of thousands of digits.
_NUMBER = re.compile(r"([0-9]{1,15})")
_BLOCK = re.compile(r"^(?P<before>(?:blocks|stages\.[0-9])\.)(?P<index>[0-9]+)(?P<after>\..*)$")

# What two aligned things cost: a pair that does not fit costs less than leaving out both sides of it.
_GAP, _MISFIT = 1.0, 1.5

_Expected = TypeVar("_Expected")
_Found = TypeVar("_Found")


def role_of(name: str) -> tuple[str, Role | None]:
    """Split a name into its stem and the role its last word stands for: `bn1.gamma` -> ("bn1.", "weight")."""
    match = _ROLE.search(name)
    if match is None:
        return name, None
    return name[: match.start()], next(role for role, _ in _SUFFIXES if match[role] is not None)


def natural_order(names: Sequence[str]) -> list[str]:
    """Sort names with their numbers as numbers: t2 before t10."""
    return sorted(
        names,
        key=lambda name: [int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(name))],
    )


def reading_orders(shapes: Mapping[str, Shape]) -> list[list[str]]:
    """The orders to try, best first.

    torch.save keeps the order in which the modules were defined, nearly always that of the forward pass.
    safetensors sorts by type and name, so where tensors of one rank are alphabetical the file order says
    nothing.
    """
    names = list(shapes)
    by_rank: dict[int, list[str]] = {}
    for name, shape in shapes.items():
        by_rank.setdefault(len(shape), []).append(name)
    alphabetical = all(group == sorted(group) for group in by_rank.values())
    orders = [names, natural_order(names)]
    return orders[::-1] if alphabetical else orders


def align(
    expected: Sequence[_Expected], found: Sequence[_Found], fits: Callable[[_Expected, _Found], bool]
) -> list[tuple[_Expected | None, _Found | None]]:
    """Pair two sequences with the least damage (Needleman-Wunsch), keeping both orders.

    Returns:
        Pairs in order; None on one side where something is missing or extra. A pair may not fit: misshapen.
    """
    rows, columns = len(expected), len(found)
    cost = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            if i == rows or j == columns:
                cost[i][j] = _GAP * (rows - i + columns - j)
                continue
            pair = 0.0 if fits(expected[i], found[j]) else _MISFIT
            cost[i][j] = min(pair + cost[i + 1][j + 1], _GAP + cost[i + 1][j], _GAP + cost[i][j + 1])
    pairs: list[tuple[_Expected | None, _Found | None]] = []
    i = j = 0
    while i < rows or j < columns:
        if i < rows and j < columns:
            pair = 0.0 if fits(expected[i], found[j]) else _MISFIT
            if cost[i][j] == pair + cost[i + 1][j + 1]:
                pairs.append((expected[i], found[j]))
                i, j = i + 1, j + 1
                continue
        if i < rows and (j == columns or cost[i][j] == _GAP + cost[i + 1][j]):
            pairs.append((expected[i], None))
            i += 1
        else:
            pairs.append((None, found[j]))
            j += 1
    return pairs


def sibling_name(name: str, role: Role, names: Sequence[str]) -> str | None:
    """What the file would call the tensor of another role in the BatchNorm of `name`."""
    endings = Counter(n[len(stem) :] for n in names for stem, found in [role_of(n)] if found == role)
    return role_of(name)[0] + endings.most_common(1)[0][0] if endings else None


def guess_name(ours: str, assignment: Mapping[str, str]) -> str | None:
    """What the file would call a missing tensor, by counting on from the same layer of two other blocks."""
    match = _BLOCK.match(ours)
    if match is None:
        return None
    index = int(match["index"])
    others: dict[int, str] = {}
    for known, theirs in assignment.items():
        other = _BLOCK.match(known)
        if other and other["before"] == match["before"] and other["after"] == match["after"]:
            others[int(other["index"])] = theirs
    if len(others) < 2:
        return None
    near, far = sorted(others, key=lambda i: abs(i - index))[:2]
    parts, further = _NUMBER.split(others[near]), _NUMBER.split(others[far])
    if len(parts) != len(further):
        return None
    guessed = []
    for place, (part, other_part) in enumerate(zip(parts, further, strict=True)):
        if part == other_part:
            guessed.append(part)
        elif place % 2:
            step, rest = divmod(int(part) - int(other_part), near - far)
            if rest:
                return None
            guessed.append(str(int(part) + step * (index - near)))
        else:
            return None
    return "".join(guessed)
