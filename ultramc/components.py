"""Groups that need each other, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def strongly_connected(roots: Iterable[int], successors: Callable[[int], Iterable[int]]) -> list[list[int]]:
    """Tarjan's components, those that others need first (R. Tarjan, SIAM J. Comput. 1, 146, 1972), without recursion."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    groups: list[list[int]] = []
    for root in roots:
        if root in number:
            continue
        path: list[tuple[int, Iterator[int]]] = [(root, iter(successors(root)))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while path:
            node, rest = path[-1]
            for other in rest:
                if other not in number:
                    number[other] = low[other] = len(number)
                    stack.append(other)
                    on_stack.add(other)
                    path.append((other, iter(successors(other))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], number[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == number[node]:
                    groups.append(_popped(stack, on_stack, node))
    return groups


def _popped(stack: list[int], on_stack: set[int], last: int) -> list[int]:
    group: list[int] = []
    while not group or group[-1] != last:
        group.append(stack.pop())
        on_stack.discard(group[-1])
    return sorted(group)
