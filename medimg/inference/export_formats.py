"""A classifier as a file that needs no medimg: ONNX, or a program of torch.export; written, and run again."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from medimg.errors import MedimgError, RequestError
from medimg.models.classifier import ImageClassifier

Format = Literal["onnx", "torch"]
Outputs = Mapping[str, NDArray[np.float32]]
METADATA_FILE = "metadata.json"  # the name of the metadata within a program of torch.export


class FileFormat(NamedTuple):
    """How a format is called and handled.

    Attributes:
        suffix: of its files.
        write: (graph, metadata, file) writes the file.
        load: gives a function from images [N, C, H, W], float32 in 0..1, to the outputs by name.
        runtime: what the file was run with to check it.
    """

    suffix: str
    write: Callable[["ExportedGraph", Mapping[str, Any], Path], None]
    load: Callable[[Path], Callable[[Tensor], Outputs]]
    runtime: Callable[[], str]


class ExportedGraph(nn.Module):
    """What is exported: images float32 [N, C, H, W] in 0..1 in, normalisation inside, outputs [N, classes] by name.

    Args:
        classifier: in eval mode, on the CPU.
        temperature: divides the logits of the output `calibrated`; None: there is no such output.
    """

    def __init__(self, classifier: ImageClassifier, temperature: float | None) -> None:
        super().__init__()
        self.backbone = classifier.backbone
        self.preprocessing = classifier.preprocessing
        self.temperature = temperature
        self.eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """`logits`, `probability`, which is their plain softmax, and `calibrated`."""
        logits = self.backbone(self.preprocessing.normalise(self.preprocessing.show_region(image)))
        outputs = {"logits": logits, "probability": logits.softmax(dim=1)}
        if self.temperature is not None:
            outputs["calibrated"] = (logits / self.temperature).softmax(dim=1)
        return outputs

    def run(self, images: Tensor) -> Outputs:
        """The outputs as torch itself computes them."""
        with torch.no_grad():
            return {name: output.numpy() for name, output in self(images).items()}

    def program(self) -> ExportedProgram:
        """The graph for any number of images.

        Raises:
            MedimgError: torch cannot trace the network, as can happen with one of the user's own.
        """
        size = self.preprocessing
        example = torch.zeros(2, size.channels, size.height, size.width)
        try:
            return torch.export.export(self, (example,), dynamic_shapes={"image": {0: Dim("batch")}})
        except Exception as error:  # whatever the code of a network of the user's own raises under tracing
            raise MedimgError(
                f"{type(self.backbone.net).__name__} cannot be exported: torch.export cannot trace it\n"
                f"  {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            ) from error


def format_of(name: Format) -> FileFormat:
    """The format, once the packages are there that it needs.

    Raises:
        RequestError: they are not.
    """
    if name == "torch":
        return FileFormat(".pt2", _write_torch, _load_torch, lambda: f"torch {torch.__version__}")
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"format=onnx needs packages that are not installed: pip install 'medimg[export]'\n  {error}"
        ) from error
    return FileFormat(".onnx", _write_onnx, _load_onnx, lambda: f"onnxruntime {onnxruntime.__version__}")


def _write_onnx(graph: ExportedGraph, metadata: Mapping[str, Any], file: Path) -> None:
    exported = torch.onnx.export(
        graph.program(),
        dynamo=True,
        verbose=False,
        input_names=["image"],
        output_names=list(metadata["outputs"]),
        dynamic_shapes={"image": {0: "batch"}},  # the names of dimensions, which the program does not keep
    )
    if exported is None:
        raise RuntimeError("torch.onnx.export gave no program")
    exported.model.metadata_props.update(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    )
    exported.save(file, external_data=False)


def _load_onnx(file: Path) -> Callable[[Tensor], Outputs]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> Outputs:
        return dict(zip(names, session.run(names, {"image": images.numpy()}), strict=True))

    return run


def _write_torch(graph: ExportedGraph, metadata: Mapping[str, Any], file: Path) -> None:
    with warnings.catch_warnings():
        # of weights in the NHWC memory format, which are written whole: the file is compared with the original
        warnings.filterwarnings("ignore", message="No complete tensor found")
        torch.export.save(graph.program(), file, extra_files={METADATA_FILE: json.dumps(metadata)})


def _load_torch(file: Path) -> Callable[[Tensor], Outputs]:
    module = torch.export.load(file).module()

    def run(images: Tensor) -> Outputs:
        with torch.no_grad():
            return {name: output.numpy() for name, output in module(images).items()}

    return run
