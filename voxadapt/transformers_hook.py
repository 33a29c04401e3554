# SPDX-License-Identifier: Apache-2.0
"""Registration with transformers' Auto classes, at the moment when these are there.

`import voxadapt` must not import transformers, and yet after it the Auto classes must know saved
models, whichever of the two is imported first. So their modules are registered with at once where
they are imported already, and else right after they have been, whoever imports them.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)


def _register_config(module: Any) -> None:
    from .transformers_config import VoxadaptConfig

    module.AutoConfig.register(VoxadaptConfig.model_type, VoxadaptConfig, exist_ok=True)


def _register_model(module: Any) -> None:
    from .transformers_config import VoxadaptConfig, VoxadaptForAudioClassification

    module.AutoModelForAudioClassification.register(
        VoxadaptConfig, VoxadaptForAudioClassification, exist_ok=True
    )


_REGISTER: dict[str, Callable[[Any], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_model,
}


class RegisteringFinder(MetaPathFinder):
    """Finds what the other finders find, with a loader that registers after loading.

    It stays for good, since a module may be imported again after a failed import, or reloaded; for
    any other module it costs one look-up.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules; of any other, say nothing."""
        if name not in _REGISTER:
            return None
        spec = _ask_the_others(self, name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = RegisteringLoader(spec.loader)
        return spec


class RegisteringLoader(Loader):
    """A loader that registers once the module has been loaded; all else is the loader's inside."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the loader inside does."""
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Load the module, then register with it."""
        self.loader.exec_module(module)
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        _register(module)


def _ask_the_others(
    finder: MetaPathFinder, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for other in sys.meta_path:
        find = getattr(other, "find_spec", None)
        spec = None if other is finder or find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


def install() -> None:
    """Register with what is imported already, and see to it that the rest will be."""
    if not any(type(finder).__name__ == RegisteringFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, RegisteringFinder())
    for name in _REGISTER:
        if name in sys.modules:
            # Waits for another thread that is just importing it.
            _register(importlib.import_module(name))


def _register(module: ModuleType) -> None:
    try:
        _REGISTER[module.__name__](module)
    # Whatever a future version of transformers has changed, importing it must not fail for that.
    except Exception as error:
        logger.warning(
            "voxadapt could not register with %s, so transformers' Auto classes will not know its "
            "models (%s: %s); SpeechClassifier.from_pretrained is not touched by this",
            module.__name__,
            type(error).__name__,
            error,
        )
