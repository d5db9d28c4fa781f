"""Call methods of plugins and detect side effects."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from sdd_core.errors import FAILURES, format_error
from sdd_core.plugin.base import noun
from sdd_core.plugin.kinds import KINDS, Plugin, label
from sdd_core.randomness import fork_random_state


class Fault(AssertionError):
    """A breach of the contract by a plugin; the message is one line with its name and the fault."""


@dataclass(frozen=True)
class Check:
    """A requirement on a plugin.

    says: the requirement, in one line. run: raises Fault unless it is met.
    """

    says: str
    run: Callable[[], None]

    @classmethod
    def all(cls, *functions: Callable[..., None], about: tuple[Any, ...]) -> list[Check]:
        """Return a check for each function, called with `about`; its docstring is the line."""
        return [
            cls((function.__doc__ or "").strip().rstrip("."), partial(function, *about))
            for function in functions
        ]


def fault(plugin: Plugin | type[Plugin], what: str) -> Fault:
    """Return a Fault with the plugin's name."""
    name = label(plugin) if isinstance(plugin, Plugin) else getattr(plugin, "name", plugin.__name__)
    return Fault(f"{noun(plugin)} {name!r}: {' '.join(what.split())}")


def instance(plugin: Any, kind: str | None = None) -> Any:
    """Return an instance of a plugin class with its default options; return instances unchanged.

    Raises Fault if it is not a plugin (of that kind), or has required options.
    """
    base = KINDS[kind] if kind else Plugin
    made = type(plugin) if isinstance(plugin, Plugin) else plugin
    if not (isinstance(made, type) and issubclass(made, base)):
        raise Fault(f"{made!r} is not a subclass of sdd_core.{base.__name__}")
    if isinstance(plugin, Plugin):
        return plugin
    required = [name for name, info in made.model_fields.items() if info.is_required()]
    if required:
        raise fault(made, f"has no default for {', '.join(map(repr, required))}; give the check "
                          f"an instance, {made.__name__}({required[0]}=...)")
    try:
        return made()
    except ValidationError as error:
        raise fault(made, f"refuses its own defaults: {error.errors()[0]['msg']}") from None


def again(plugin: Any) -> Any:
    """Return another instance with the same options."""
    return with_options(plugin)


def with_options(plugin: Any, **options: Any) -> Any:
    """Return another instance with some options replaced. Raises pydantic's ValidationError."""
    given = {name: getattr(plugin, name) for name in plugin.model_fields_set}
    return type(plugin).model_validate(given | options)


def call(plugin: Any, method: str, *arguments: Any, own: tuple[str, ...] = ()) -> Any:
    """Return the result of a plugin's method.

    own: owners of global generators that it may draw from, such as "torch's". Raises Fault if it
    raises, draws from another global generator, or reads a pickle.
    """
    before = _random_states()
    answer = _answer(plugin, method, arguments)
    if _changed(before, own):
        # A module may draw when it is first imported. The plugin itself would draw again.
        before = _random_states()
        _answer(plugin, method, arguments)
        for whose in _changed(before, own):
            raise fault(plugin, f"{method}() changes {whose} random state; draw from the generator "
                                "argument, or from level.generator(...)")
    return answer


def _answer(plugin: Any, method: str, arguments: tuple[Any, ...]) -> Any:
    try:
        with _unpickling() as read:
            answer = getattr(plugin, method)(*arguments)
    except FAILURES as error:
        raise fault(plugin, f"{method}() raised {format_error(error)}") from error
    if read:
        raise fault(plugin, f"{method}() reads a pickle (of {read[0]}), which can execute any "
                            "code; store numbers as safetensors, .npy or JSON")
    return answer


def call_twice(plugin: Any, method: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
    """Return the result of a method, called twice on fresh arguments with other global seeds.

    Raises Fault as `call` does, or if two instances with equal options give different results.
    """
    answers = []
    for seed in (1, 2):
        with global_seed(seed):
            answers.append(call(again(plugin), method, *arguments()))
    if not same(*answers):
        raise fault(plugin, f"{method}() gives another result the second time; let it depend only "
                            "on its options and arguments")
    return answers[0]


def unchanged(plugin: Any, method: str, what: str, before: Any, after: Any) -> None:
    """Raise Fault that names `what` if the method changed it."""
    if not same(before, after):
        raise fault(plugin, f"{method}() changes {what}; work on a copy")


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal bit for bit: tensors, arrays, and containers of them."""
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return str(value.dtype), _plain(_bits(value))
    if isinstance(value, np.ndarray | float):
        array = np.asarray(value)
        # NaN is not equal to itself, but its bytes are.
        return array.dtype.str, array.shape, array.tobytes()
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return [(key, _plain(item)) for key, item in value.items()]
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _bits(tensor: Tensor) -> np.ndarray:
    plain = tensor.detach().cpu()
    # numpy has no bfloat16, which double precision holds exactly.
    return (plain.double() if plain.dtype == torch.bfloat16 else plain).numpy()


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed all global generators with `seed`, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with fork_random_state():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _changed(before: dict[str, Any], own: tuple[str, ...]) -> list[str]:
    return [whose for whose, state in _random_states().items()
            if whose not in own and not same(state, before[whose])]


def _random_states() -> dict[str, Any]:
    return {
        "torch's": torch.get_rng_state(),
        "numpy's": np.random.get_state(),
        "Python's": random.getstate(),
    }


_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and _watching:
        _watching[-1].append(".".join(map(str, arguments)))


@contextmanager
def _unpickling() -> Iterator[list[str]]:
    """Yield a list of the names that unpickling looks up meanwhile. Python's audit hooks can never
    be removed, so there is only one, which is active only inside this context."""
    if not getattr(sys, "_sdd_audit", False):
        sys.addaudithook(_audit)
        sys._sdd_audit = True  # type: ignore[attr-defined]
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()
