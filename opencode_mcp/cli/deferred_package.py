"""Packages of which only submodules are imported."""

import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType

LOCK = RLock()
"""Held while the `__init__` of a deferred package runs. There is one for all, as they import each other."""
RUNNING: set[str] = set()
"""The packages whose `__init__` runs."""


class DeferredPackage(ModuleType):
    """A package whose `__init__` runs when a name is first taken from it; its submodules can be imported before.

    Another thread waits until `__init__` has run. After an error it runs again, as that of any package does.
    """

    def __getattr__(self, name: str) -> object:
        """Run `__init__`, and return the name from the package; within `__init__`, a name that it has defined.

        Raises:
            AttributeError: the package has no attribute of this name.
            Exception: `__init__` failed.
        """
        with LOCK:
            if self.__name__ in RUNNING:
                return super().__getattribute__(name)
            if self.__class__ is DeferredPackage:
                run_init(self)
        return getattr(self, name)


def run_init(package: DeferredPackage) -> None:
    """Run `__init__`, and make it an ordinary package; if that fails, take back the names that it has defined.

    Raises:
        Exception: `__init__` failed.
    """
    spec, names_before = package.__spec__, {*vars(package)}
    assert spec is not None
    assert spec.loader is not None
    RUNNING.add(package.__name__)
    try:
        spec.loader.exec_module(package)
    except BaseException:
        for name in vars(package).keys() - names_before:
            if not isinstance(vars(package)[name], ModuleType):  # a submodule stays imported
                delattr(package, name)
        raise
    finally:
        RUNNING.remove(package.__name__)
    package.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue] - the language allows it for modules


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
