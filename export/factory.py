"""A network of any kind, built by the user's own code: `--factory package.module:callable`."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perframe.errors import InputError, UsageError
from perframe.export.pytorch import nn


def network_from_factory(spec: str) -> nn.Module:
    """Import `package.module`, call its `callable` without arguments and return the network it builds.

    The current directory is importable while it does so. This runs the user's code, which a checkpoint never
    does.

    Raises:
        UsageError: `spec` is not of this form.
        InputError: The import or the call fails, or the result is no `nn.Module`.
    """
    module_name, separator, attribute = spec.partition(":")
    names = [*module_name.split("."), *attribute.split(".")]
    if not separator or not all(name.isidentifier() for name in names):
        raise UsageError(
            f"{spec!r} is no factory, expected package.module:callable.",
            "For example: --factory my_models.net:make",
        )
    with _current_directory_importable():
        try:
            target = importlib.import_module(module_name)
        # Whatever the user's module raises, the user has to hear.
        except Exception as error:
            raise InputError(
                f"factory {spec}: cannot import {module_name} ({_reason(error)}).",
                "Run from the folder that holds it, or put that folder on PYTHONPATH.",
            ) from error
        for name in attribute.split("."):
            if not hasattr(target, name):
                raise InputError(f"factory {spec}: {module_name} has no {attribute}.", "Check the name.")
            target = getattr(target, name)
        if not callable(target):
            raise InputError(f"factory {spec}: {attribute} is not callable.", "Name a function or a class.")
        try:
            network = target()
        except Exception as error:
            raise InputError(
                f"factory {spec}: calling it failed ({_reason(error)}).",
                "It is called without arguments and returns the network.",
            ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"factory {spec}: expected a torch.nn.Module, found {type(network).__name__}.",
            "Return the network itself.",
        )
    return network


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
