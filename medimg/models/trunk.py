"""A frozen trunk never changes: known by a digest, it lies in one file that a run's checkpoints name and go without."""

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from medimg.errors import RequestError
from medimg.models.backbone import Backbone, head_names

IN_CLASSIFIER = "backbone.net."  # before the network's keys in the state of an ImageClassifier
ENTRY = "frozen_trunk"  # in a checkpoint: which file it needs

# of each backbone, with what shows that its tensors have been replaced or changed since
_DIGESTS: WeakKeyDictionary[Backbone, tuple[list[object], str]] = WeakKeyDictionary()

# the checkpoint that ImageClassifier.load_from_checkpoint is reading, which its hook is not told
being_loaded: ContextVar[object] = ContextVar("being_loaded", default=None)


@dataclass(frozen=True)
class Trunk:
    """Weights of a trunk by their names in `backbone.net`, with the digest that they are known by."""

    state: Mapping[str, Tensor]
    digest: str

    @property
    def file_name(self) -> str:
        """Beside the checkpoints that need it; no checkpoint itself by its suffix."""
        return f"trunk-{self.digest[:12]}.pt"

    @property
    def entry(self) -> dict[str, str]:
        """What a checkpoint says of it, in plain containers."""
        return {"file": self.file_name, "sha256": self.digest}


def trunk_state(backbone: Backbone) -> dict[str, Tensor]:
    """Parameters and buffers of the trunk, by their names in `backbone.net`; the tensors are the network's own."""
    head = tuple(f"{name}." for name in head_names(backbone.net))
    return {name: value for name, value in backbone.net.state_dict().items() if not name.startswith(head)}


def trunk_of(backbone: Backbone) -> Trunk:
    """Its trunk; the digest is computed once, and again where the trunk has been moved or changed all the same."""
    state = trunk_state(backbone)
    seen = _traces(state)
    if backbone not in _DIGESTS or _DIGESTS[backbone][0] != seen:
        _DIGESTS[backbone] = seen, trunk_digest(state)
    return Trunk(state, _DIGESTS[backbone][1])


def _traces(state: Mapping[str, Tensor]) -> list[object]:
    """Place, version and norm of each tensor; what is changed through `.data` keeps its version."""
    floats = [value for value in state.values() if value.is_floating_point()]
    norms = torch.stack(torch._foreach_norm(floats)).tolist() if floats else []
    return [*((value.data_ptr(), value._version) for value in state.values()), *norms]


def trunk_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 as hex, over names, dtypes, shapes and values; order, device and memory layout do not matter."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def join_trunk(checkpoint: dict[str, Any], file: object) -> None:
    """Puts the trunk back into a checkpoint's state, on the CPU; one that has its own is left as it is.

    Args:
        checkpoint: its content, changed in place.
        file: the path that it was read from, beside which the trunk lies.

    Raises:
        RequestError: the file of the trunk is missing or damaged, or holds other weights.
    """
    if ENTRY not in checkpoint:
        return
    name, digest = Path(checkpoint[ENTRY]["file"]).name, checkpoint[ENTRY]["sha256"]
    if not isinstance(file, str | Path):
        raise RequestError(f"this checkpoint needs {name}, which lies beside it: load it by its path")
    trunk = Path(file).with_name(name)
    cure = "copy the whole run folder, or all of its checkpoints/: without its trunk a checkpoint is half a model"
    if not trunk.is_file():
        raise RequestError(f"{file} needs the file {name} beside it, with its frozen trunk, and has none\n  {cure}")
    state = read_trunk(trunk, digest)
    if state is None:
        raise RequestError(f"{trunk} is damaged, or not the frozen trunk of {Path(file).name}\n  {cure}")
    checkpoint["state_dict"].update({f"{IN_CLASSIFIER}{key}": value for key, value in state.items()})
    del checkpoint[ENTRY]


def read_trunk(file: Path, digest: str) -> dict[str, Tensor] | None:
    """The weights in a file of a trunk, on the CPU; None where they are not those of the digest, for any reason."""
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return state if trunk_digest(state) == digest else None
    except Exception:  # damaged files fail in as many ways as there are bytes
        return None
