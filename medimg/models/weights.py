"""Pretrained weights: which are meant, where they are, and loading them completely or not at all."""

import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from medimg.errors import RequestError, suggestion
from medimg.models.backbone import head_names
from medimg.models.trunk import IN_CLASSIFIER, join_trunk

Source = Any  # a member of a torchvision weights enum, or the Path of a state-dict file

_FILE_SUFFIXES = {".pth", ".pt", ".ckpt", ".bin", ".tar"}
_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # DataParallel's and torch.compile's
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # GoogLeNet's and Inception's extra heads, which are not built
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
_SECONDS_OF_SILENCE = 60  # before a download is given up; without it, a firewall that drops packets blocks for ever


def resolve_weights(spec: str | None, backbone: str) -> Source | None:
    """What `model.weights` means for a torchvision model: a torchvision weights member, a file, or None.

    Nothing is read or downloaded, and a file need not exist, until `load_state`.

    Raises:
        RequestError: it is neither a name that the model has weights under, nor the path of a file.
    """
    if spec is None:
        return None
    members = torchvision.models.get_model_weights(backbone)
    # Without categories they are a trunk for detection (vgg16's IMAGENET1K_FEATURES), with NaN in the linear layers.
    allowed = {member.name: member for member in members if member.meta.get("categories")}
    if spec.lower() == "default":
        return members.DEFAULT
    wanted = "IMAGENET1K_V1" if spec == "imagenet" else spec
    if wanted in allowed:
        return allowed[wanted]
    if _is_path(spec):
        return Path(spec).expanduser()
    names = ["default", *(["imagenet"] if "IMAGENET1K_V1" in allowed else []), *allowed]
    found = f"model.weights: {backbone} has no weights {spec!r}, and there is no such file."
    raise RequestError(
        f"{found} {suggestion(spec, names)}".rstrip()
        + f"\nAllowed: {', '.join(names)}, null (from scratch), or the path of a state-dict file."
    )


def load_state(net: nn.Module, source: Source, backbone: str) -> None:
    """Fill all of `net` but its head, in place, from a torchvision weights member or a state-dict file.

    A file may be wrapped in {"state_dict": ...} or {"model": ...} and have DataParallel's `module.` before its keys;
    a run's checkpoint will do too. Its own head is not used, and may be absent. A vision transformer's position
    embeddings are interpolated to the image size that `net` was built for.

    Raises:
        RequestError: the file is missing, damaged, no plain state dict or for another model; or a download failed.
    """
    if isinstance(source, Path):
        file, content = source, _read(source)
    else:
        file, content = _fetch(source, backbone)
    state = _prepare(content, file)
    head = _head_layer_prefix(net)
    own = {key: value for key, value in net.state_dict().items() if key.startswith(head)}
    state = OrderedDict({key: value for key, value in state.items() if not key.startswith((head, *_AUXILIARY))} | own)
    if isinstance(net, VisionTransformer) and "encoder.pos_embedding" in state:
        state = _interpolated(net, state)
    # Without a version, MNASNet refuses its own state dict.
    state._metadata = {"": {"version": net._version}}  # type: ignore[attr-defined]
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise _misfit(file, backbone, error) from error


def cache_folder() -> Path:
    """Where torchvision keeps downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _is_path(spec: str) -> bool:
    path = Path(spec)
    return path.suffix in _FILE_SUFFIXES or path.name != spec or path.is_file()


def _read(file: Path) -> Any:
    if not file.is_file():
        raise RequestError(
            f"model.weights: there is no file {file}.\n"
            "Give the path of a state-dict file, a name such as imagenet, or null to train from scratch."
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in as many ways as there are bytes
        raise RequestError(
            f"model.weights: {file} cannot be read as a state dict ({_reason(error)}).\n"
            "It is damaged or incomplete, or holds pickled code, which is never run.\n"
            "Copy it again, or save plain tensors: torch.save(model.state_dict(), file)."
        ) from error
    if isinstance(content, dict):
        join_trunk(content, file)
    return content


def _fetch(member: Any, backbone: str) -> tuple[Path, Any]:
    """The weights out of torchvision's cache, downloaded into it where they are not there yet."""
    file = cache_folder() / member.url.rpartition("/")[2]
    by_hand = (
        f"Put the file {file.name} from {member.url}\n"
        f"into {file.parent} by hand, or train from scratch with model.weights=null."
    )
    try:
        # torch.hub announces downloads on stdout, which is for results.
        with redirect_stdout(sys.stderr), _socket_timeout(_SECONDS_OF_SILENCE):
            content = member.get_state_dict(
                progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
            )
    except Exception as error:  # no network, a full disk, a proxy's error page, a wrong hash, a damaged file
        if file.exists():
            problem = f"the cached weights of {backbone} are damaged ({_reason(error)}).\nDelete {file}, or replace it."
        else:
            problem = f"the weights of {backbone} could not be downloaded ({_reason(error)})."
        raise RequestError(f"model.weights: {problem}\n{by_hand}") from error
    return file, content


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _prepare(content: Any, file: Path) -> dict[str, Tensor]:
    """Unwrapped and with today's names; every value is a tensor of finite numbers."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise _no_state_dict(file, f"it holds {type(content).__name__}, not tensors by name")
    other = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise _no_state_dict(file, f"{', '.join(map(repr, other[:3]))} in it is no tensor")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content):
            content = _below(prefix, content)
    content = _below(IN_CLASSIFIER, content) or content
    broken = [key for key, value in content.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise RequestError(
            f"model.weights: {file} has NaN or infinite numbers in {', '.join(broken[:3])}.\n"
            "It comes from a training that failed; use another file."
        )
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in content.items()}


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _no_state_dict(file: Path, why: str) -> RequestError:
    return RequestError(
        f"model.weights: {file} is not a state dict: {why}.\n"
        'Save one with torch.save(model.state_dict(), file); {"state_dict": ...} around it is fine.'
    )


def _head_layer_prefix(net: nn.Module) -> str:
    named = ((name, net.get_submodule(name)) for name in head_names(net))
    return next(f"{name}." for name, module in named if isinstance(module, nn.Linear | nn.Conv2d))


def _interpolated(net: VisionTransformer, state: "OrderedDict[str, Tensor]") -> "OrderedDict[str, Tensor]":
    try:
        return interpolate_embeddings(net.image_size, net.patch_size, state)  # type: ignore[no-any-return]
    except ValueError:
        return state  # not this model's embeddings: loading says so, with everything else that does not fit


def _misfit(file: Path, backbone: str, error: RuntimeError) -> RequestError:
    problems = [shorten(line, 200, placeholder=" ...") for line in str(error).splitlines()[1:]]
    more = [f"... and {len(problems) - 4} more."] if len(problems) > 4 else []
    return RequestError(
        "\n".join(
            [
                f"model.weights: {file} does not fit {backbone}; it is a file for another model.",
                *problems[:4],
                *more,
                "Choose the model that it was saved from, or another file.",
            ]
        )
    )


def _reason(error: Exception) -> str:
    # The first sentence: torch adds advice on how to run the code in the file all the same.
    return shorten(f"{type(error).__name__}: {error}".split(". ")[0], 160, placeholder=" ...")
