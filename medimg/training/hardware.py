"""What of a run follows from the device that it trains on: arithmetic, memory format, threads, compilation."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import torch
from torch import nn

from medimg.config import TrainConfig, TrainerConfig
from medimg.errors import MedimgError, RequestError
from medimg.models.layout import gains_from_channels_last

_HALF = ("16-mixed", 16)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def device_type(config: TrainerConfig) -> Literal["cuda", "mps", "cpu"]:
    """The kind of device that Lightning will choose."""
    if config.accelerator in {"auto", "gpu", "mps"} and torch.backends.mps.is_available():
        return "mps"
    if config.accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available():
        return "cuda"
    return "cpu"


def precision(config: TrainerConfig) -> Any:
    """The precision to train in: as asked, or for `auto` mixed precision on GPUs that gain from it, else 32 bits.

    Raises:
        RequestError: the processor does not have what was asked for.
    """
    if config.precision in _HALF and config.accelerator in {"auto", "cpu"} and device_type(config) == "cpu":
        raise RequestError(
            f"trainer.precision={config.precision}: mixed precision of 16-bit floats needs a GPU\n"
            "  on the processor: trainer.precision=bf16-mixed, or auto for 32 bits"
        )
    if config.precision != "auto":
        return config.precision
    if device_type(config) != "cuda":
        return "32-true"
    first = config.devices[0] if isinstance(config.devices, tuple) else 0
    major, _ = torch.cuda.get_device_capability(first)
    # Ampere (8) and later compute in bf16; Volta and Turing (7) have tensor cores for fp16 alone
    return "bf16-mixed" if major >= 8 else "16-mixed" if major == 7 else "32-true"


def predicting_precision(config: TrainerConfig) -> Any:
    """The same for what was trained elsewhere: 32 bits where that was in 16-bit floats and there is no NVIDIA GPU."""
    return "32-true" if config.precision in _HALF and device_type(config) != "cuda" else precision(config)


def channels_last(config: TrainConfig) -> bool:
    """Whether the backbone computes in channels-last; `auto` is a function of the backbone and the kind of device."""
    asked = config.trainer.channels_last
    if asked != "auto":
        return asked
    mixed = precision(config.trainer) in {"bf16-mixed", "16-mixed", 16}
    return gains_from_channels_last(config.model, device_type(config.trainer), mixed=mixed)


def set_arithmetic(config: TrainerConfig, *, whole_network: bool = False) -> None:
    """Sets what holds for the whole process: threads, freed memory, and how exact 32 bits are on NVIDIA GPUs.

    On other devices 32 bits are 32 bits, also where an earlier run of this process was on a GPU.

    Args:
        config: of the trainer.
        whole_network: whether gradients go through all of it, so that what all layers have made is in memory at once.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    if device_type(config) == "cpu":
        _keep_freed_memory(12 if whole_network else 32)
    if device_type(config) != "cuda":
        torch.set_float32_matmul_precision("highest")
        return
    torch.set_float32_matmul_precision(config.float32_matmul_precision)
    torch.backends.cudnn.allow_tf32 = config.float32_matmul_precision != "highest"


def _keep_freed_memory(largest: int) -> None:
    """Has glibc keep memory that tensors have given back, instead of asking the system for fresh pages in every layer.

    That doubles the speed of convolutions on a processor (benchmarks/pieces.py). Blocks of more than `largest` MB still
    come from the system: kept as well, the late layers' are missing where the early layers' gradients are computed.
    Fine-tuning MobileNetV2 at 224 pixels took 3.8 GB with 12 MB, 4.1 GB and four fifths of the time with 32 MB.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, largest * 2**20)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def compiled(net: nn.Module, how: bool | str) -> Iterator[None]:
    """Within it, calls of `net` run through torch.compile; afterwards it is as it was.

    What comes after training looks into the network with hooks, which compiled code would pass by. The names of the
    state dict stay as they are.

    Args:
        net: changed in place.
        how: False: not at all; True: in the default mode; or a mode of torch.compile.

    Raises:
        MedimgError: torch cannot compile it here.
    """
    if how is False:
        yield
        return
    net.compile(mode="default" if how is True else how)
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MedimgError(
            f"trainer.compile={str(how).lower()}: torch cannot compile this backbone here: {reason}\n"
            "  on the processor it needs a C++ compiler; trainer.compile=false trains without"
        ) from error
    finally:
        net._compiled_call_impl = None
