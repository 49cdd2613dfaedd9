"""The `trainer`, `callbacks` and `logger` groups, and the top of the configuration."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from medimg.config.augment import AugmentConfig
from medimg.config.base import Component, Custom, Node, NonNegative, NonNegativeInt, PositiveInt, UnitInterval
from medimg.config.data import AnyData
from medimg.config.evaluation import EvaluationConfig
from medimg.config.model import AnyLoss, AnyModel
from medimg.config.optim import AnyOptimizer, AnyScheduler

Precision = Literal["auto", "16-mixed", "bf16-mixed", "32-true", 16, 32]
Duration = Annotated[str, Meta(pattern=r"^\d+:\d\d:\d\d:\d\d$")]
Limit = NonNegativeInt | Annotated[float, Meta(ge=0, le=1)]


class TrainerConfig(Node, frozen=True, kw_only=True):
    """Options of the Lightning Trainer."""

    max_epochs: Annotated[PositiveInt, Meta(description="epochs to train")] = 10
    min_epochs: Annotated[PositiveInt | None, Meta(description="epochs before early stopping may stop")] = None
    max_steps: Annotated[int, Meta(ge=-1, description="optimizer steps to train; -1: no limit")] = -1
    max_time: Annotated[Duration | None, Meta(description="longest training time, as DD:HH:MM:SS")] = None
    accelerator: Annotated[
        Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"], Meta(description="where to compute")
    ] = "auto"
    devices: Annotated[
        Annotated[int, Meta(ge=-1)] | Literal["auto"] | tuple[NonNegativeInt, ...],
        Meta(description="how many devices, or which: [0,2]"),
    ] = 1
    num_nodes: Annotated[PositiveInt, Meta(description="machines")] = 1
    strategy: Annotated[
        Literal["auto", "ddp", "ddp_find_unused_parameters_true"],
        Meta(description="how several devices work together"),
    ] = "auto"
    precision: Annotated[
        Precision,
        Meta(description="auto: bf16 or fp16 mixed on GPUs that gain from it, 32-bit elsewhere; 16-mixed needs a GPU"),
    ] = "auto"
    gradient_clip_val: Annotated[NonNegative | None, Meta(description="clip gradients to this; null: no clipping")] = (
        None
    )
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    accumulate_grad_batches: Annotated[PositiveInt, Meta(description="batches added up for one optimizer step")] = 1
    check_val_every_n_epoch: PositiveInt = 1
    num_sanity_val_steps: Annotated[int, Meta(ge=-1)] = 0
    log_every_n_steps: PositiveInt = 10
    limit_train_batches: (
        Annotated[Limit, Meta(description="number (10) or share (0.1) of batches; null: all")] | None
    ) = None
    limit_val_batches: Annotated[
        PositiveInt | Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="the same; data.val_fraction=0: none")
    ] = None
    limit_predict_batches: Annotated[Limit, Meta(description="the same for the evaluation at the end")] | None = None
    overfit_batches: Annotated[
        NonNegativeInt, Meta(description="train on this many batches again and again; 0: off")
    ] = 0
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    detect_anomaly: bool = False
    deterministic: Annotated[bool | Literal["warn"], Meta(description="use deterministic algorithms alone")] = False
    benchmark: Annotated[bool | None, Meta(description="let cuDNN choose the fastest algorithm")] = None
    sync_batchnorm: Annotated[
        bool | Literal["auto"], Meta(description="one BatchNorm over all devices; auto: on several GPUs")
    ] = "auto"
    enable_progress_bar: Annotated[bool | Literal["auto"], Meta(description="auto: where the output is a terminal")] = (
        "auto"
    )
    enable_model_summary: bool = False
    channels_last: Annotated[
        bool | Literal["auto"],
        Meta(description="compute in the NHWC memory format; auto: where the backbone was measured to gain from it"),
    ] = "auto"
    compile: Annotated[
        bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
        Meta(description="train a backbone compiled by torch.compile, which takes minutes; true: in its default mode"),
    ] = False
    float32_matmul_precision: Annotated[
        Literal["highest", "high", "medium"],
        Meta(description="32-bit arithmetic on NVIDIA GPUs; high: TF32, highest: full precision"),
    ] = "high"
    num_threads: Annotated[
        PositiveInt | None, Meta(description="threads of torch on the processor; null: one for each core")
    ] = None


class FindConfig(Node, frozen=True, kw_only=True):
    """What is found out before training begins; the values found take the place of those given."""

    lr: Annotated[bool, Meta(description="find optimizer.lr by a range test before training")] = False
    batch_size: Annotated[
        bool,
        Meta(
            description="find the largest data.batch_size that fits into the GPU's memory and leaves an epoch 4 steps"
        ),
    ] = False
    max_batch_size: Annotated[PositiveInt, Meta(description="the largest batch that find.batch_size tries")] = 256


class CallbackConfig(Component, frozen=True, kw_only=True):
    """What all callbacks have in common."""


class CheckpointConfig(CallbackConfig, frozen=True, kw_only=True, tag="medimg.training.checkpoints"):
    """The best and the last epoch are always kept."""

    every_epoch: Annotated[bool, Meta(description="keep epoch_NNN.ckpt of every epoch as well")] = False


class EarlyStoppingConfig(CallbackConfig, frozen=True, kw_only=True, tag="medimg.training.RunEarlyStopping"):
    """Stops where the monitored metric has not improved for `patience` validations."""

    patience: NonNegativeInt = 10
    min_delta: NonNegative = 0.0


class LearningRateConfig(
    CallbackConfig, frozen=True, kw_only=True, tag="lightning.pytorch.callbacks.LearningRateMonitor"
):
    """Logs the learning rate."""

    logging_interval: Literal["step", "epoch"] | None = "epoch"


class FiguresConfig(CallbackConfig, frozen=True, kw_only=True, tag="medimg.training.TensorBoardFigures"):
    """Pictures in TensorBoard."""

    augmented_images: Annotated[NonNegativeInt, Meta(description="how many images of the first batch to show")] = 16
    time_share: Annotated[
        UnitInterval | None,
        Meta(description="the part of the training time that drawing confusion matrices may take; null: no limit"),
    ] = 0.05


class PruningConfig(CallbackConfig, frozen=True, kw_only=True, tag="medimg.training.Pruning"):
    """In a hyperparameter search, ends a trial whose best epoch is behind the median of the earlier trials."""

    startup_trials: Annotated[NonNegativeInt, Meta(description="trials that end before any other is pruned")] = 5
    warmup_epochs: Annotated[NonNegativeInt, Meta(description="epochs before a trial may be pruned")] = 3


AnyCallback = CheckpointConfig | EarlyStoppingConfig | LearningRateConfig | FiguresConfig | PruningConfig


class LoggerConfig(Component, frozen=True, kw_only=True):
    """What all loggers have in common."""


class TensorBoardConfig(LoggerConfig, frozen=True, kw_only=True, tag="medimg.training.RunTensorBoard"):
    """Event files below `tensorboard/` in the run folder."""


AnyLogger = TensorBoardConfig


class PathsConfig(Node, frozen=True, kw_only=True):
    """Folders."""

    runs: Annotated[str, Meta(description="where runs go", min_length=1)] = "runs"
    cache: Annotated[str, Meta(description="where caches go", min_length=1)] = "~/.cache/medimg"


class MonitorConfig(Node, frozen=True, kw_only=True):
    """What selects the best epoch."""

    metric: Annotated[str, Meta(description="what selects the best epoch")] = "val/f1_macro"
    mode: Annotated[Literal["max", "min"], Meta(description="whether more or less of it is better")] = "max"


class SweepConfig(Node, frozen=True, kw_only=True):
    """How a sweep goes on."""

    on_error: Annotated[Literal["continue", "stop"], Meta(description="what a sweep does where a job fails")] = (
        "continue"
    )


class SearchConfig(Node, frozen=True, kw_only=True):
    """The settings of the Optuna sweeper, below `hydra.sweeper`: they are no part of a run."""

    n_trials: PositiveInt
    n_jobs: PositiveInt
    sampler: Literal["tpe", "random"]
    startup_trials: PositiveInt
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    params: dict[str, str | int | float | bool | None]


class TrainConfig(Node, frozen=True, kw_only=True):
    """Everything that defines a run."""

    data: AnyData
    model: AnyModel | Custom
    loss: AnyLoss | Custom
    optimizer: AnyOptimizer | Custom
    scheduler: AnyScheduler | Custom | None = None
    augment: AugmentConfig = AugmentConfig()
    trainer: TrainerConfig = TrainerConfig()
    find: FindConfig = FindConfig()
    callbacks: dict[str, AnyCallback | Custom | None] = msgspec.field(default_factory=dict)
    logger: dict[str, AnyLogger | Custom | None] = msgspec.field(default_factory=dict)
    paths: PathsConfig = PathsConfig()
    monitor: MonitorConfig = MonitorConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    sweep: SweepConfig = SweepConfig()
    name: Annotated[
        str,
        Meta(
            description="names the run, or the study of a sweep: letters, digits, . _ -",
            max_length=128,
            pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
        ),
    ] = "run"
    seed: Annotated[int, Meta(ge=0, lt=2**32, description="seed of training: weights, order, augmentation")] = 0
    evaluate_test: Annotated[
        bool | Literal["auto"],
        Meta(description="look at the test split at the end; auto: outside sweeps, and for a fold's held-out part"),
    ] = "auto"
    ckpt_path: Annotated[str | None, Meta(description="start from the full state of this checkpoint")] = None
    allow: Annotated[
        dict[str, list[str]] | None,
        Meta(description="targets of your own, by group: allow={optimizer:[my_package.Lion]}"),
    ] = None
