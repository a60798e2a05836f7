"""Names → engines. Others register by the entry point group ``ultramc.engines``; nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from ultramc.engines.base import Engine, EngineInfo
from ultramc.errors import EngineUnavailable, InputError, UltramcError

BUILT_IN = {
    "numpy": "ultramc.engines.on_numpy:NumPyEngine",
    "native": "ultramc.engines.on_native:NativeEngine",
    "jax": "ultramc.engines.on_jax:JaxEngine",
    "cupy": "ultramc.engines.on_cupy:CupyEngine",
}
GROUP = "ultramc.engines"


def registered() -> dict[str, str]:
    """Each engine's name, and the module and class it is found at."""
    return {**{point.name: point.value for point in entry_points(group=GROUP)}, **BUILT_IN}


def engine(choice: str | Engine) -> Engine:
    """An engine by name, or the engine given.

    Raises InputError for a name that nobody registered and EngineUnavailable where it cannot run here.
    """
    chosen = choice if isinstance(choice, Engine) else made(choice)
    availability = chosen.availability()
    if not availability.available:
        raise EngineUnavailable(f"engine {chosen.name!r} cannot run here: {availability.reason}")
    return chosen


def made(name: object) -> Engine:
    """An engine by name, whether it can run here or not. Raises InputError and EngineUnavailable."""
    from difflib import get_close_matches

    places = (
        BUILT_IN if isinstance(name, str) and name in BUILT_IN else registered()
    )  # looking through all entry points takes longer than a small run
    if not isinstance(name, str):
        raise InputError(f'engine={name!r}: a name, "auto" or an ultramc.Engine. There are: {", ".join(sorted(places))}')
    if name not in places:
        close = get_close_matches(name, places, 1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise InputError(f"no engine {name!r}{hint} There are: {', '.join(sorted(places))}")
    module, _, attribute = places[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)()
    except Exception as error:  # one of somebody else's that breaks in its own way must not hide the others
        raise EngineUnavailable(f"engine {name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Engine):
        raise InputError(f"engine {name!r} is registered at {places[name]}, which makes no ultramc.Engine")
    return found


def available_engines() -> tuple[EngineInfo, ...]:
    """Every registered engine, or why it cannot run here."""
    return tuple(_info(name) for name in sorted(registered()))


def _info(name: str) -> EngineInfo:
    try:
        availability = made(name).availability()
    except UltramcError as error:
        return EngineInfo(name, False, str(error))
    except Exception as error:
        return EngineInfo(name, False, f"it does not say whether it can run here: {type(error).__name__}: {error}")
    return EngineInfo(name, availability.available, availability.reason)


def engines_with(op: str) -> tuple[str, ...]:
    """The names of the engines that can run here and have an op."""
    return tuple(info.name for info in available_engines() if info.available and op in made(info.name).supports)
