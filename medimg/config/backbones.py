"""Which classification models torchvision has, read from its source: importing it would take seconds."""

import re
from importlib.util import find_spec
from pathlib import Path


def torchvision_names() -> list[str]:
    """The names that `model.backbone` may have; empty where torchvision's source cannot be read."""
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return []
    names: list[str] = []
    for file in sorted(Path(spec.submodule_search_locations[0], "models").glob("*.py")):
        registered = file.read_text(encoding="utf-8").split("@register_model(")[1:]
        names += [found.group(1) for part in registered if (found := re.search(r"^def (\w+)\(", part, re.MULTILINE))]
    return sorted(names)
