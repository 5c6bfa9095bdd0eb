"""What holds while modules are imported, and packages of which only submodules are."""

import gc
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType


@contextmanager
def importing() -> Generator[None]:
    """Import in the block, before the command does anything.

    As there is nothing to undo, Ctrl-C ends the process at once: in the middle of an import, KeyboardInterrupt would
    print a traceback. What is imported stays until the end, so the garbage collector does not look at it: that would
    take an eighth of the start's time, and a quarter of a second at the end.
    """
    gc.disable()
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, exit_at_once)
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_at_once(signum: int, frame: object) -> None:
    """Exit as a shell expects after SIGINT."""
    os._exit(128 + signum)


class DeferredPackage(ModuleType):
    """A package whose `__init__` runs when a name is first taken from it; its submodules can be imported before."""

    def __getattr__(self, name: str) -> object:
        """Run `__init__`, and return the name from the package."""
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue] - the language allows it for modules
        spec.loader.exec_module(self)
        return getattr(self, name)


def defer_package(name: str) -> None:
    """Let `import NAME.MODULE` import the module without what the `__init__` of NAME imports; outer packages first.

    Importing a submodule runs the `__init__` of its package. Those of the SDK (mcp 2.3) import its client and its
    framework for servers, 11 MB of code that a server on the low-level API does not run. `importlib.util.LazyLoader`
    does not help: it loads a package when its `__path__` is read, which every import of a submodule does.
    """
    spec = find_spec(name)
    if name in sys.modules or spec is None:
        return
    package = sys.modules[name] = module_from_spec(spec)
    package.__class__ = DeferredPackage
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)
