"""What is trained: layers, and models made of them."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.init import AutoInit, Init
from jobs.spec.values import Count, Flag, Fraction, NonNegative, Part, Positive, Real

Function = Literal["sigmoid", "tanh", "softmax", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"]
Size = Annotated[Count, Field(le=1_000_000)]
Window = Annotated[Count, Field(le=512)]


class Flatten(Part):
    """(C, H, W) → (C·H·W); does nothing to a table's row."""

    kind: Literal["flatten"] = "flatten"


class Dense(Part):
    """y = Wx + b over the last dimension."""

    kind: Literal["dense"] = "dense"
    units: Size
    """Outputs."""
    bias: Flag = True
    """Whether there is a b."""
    init: Init = Field(default_factory=AutoInit)
    """The start of W and b; auto takes the job's `init`."""


class Conv(Part):
    """2-D convolution over (C, H, W) (`torch.nn.functional.conv2d`)."""

    kind: Literal["conv"] = "conv"
    channels: Size
    """Outputs."""
    kernel: Window = 3
    """Height and width of the window, in pixels."""
    stride: Window = 1
    """Pixels between windows."""
    padding: Literal["same", "valid"] = "same"
    """`same` pads with zeros so that stride 1 keeps height and width; `valid` does not pad."""
    bias: Flag = True
    """Whether there is a bias per channel."""
    init: Init = Field(default_factory=AutoInit)
    """The start of kernel and bias; auto takes the job's `init`."""


class Pool(Part):
    """Shrinks (C, H, W) by windows; incomplete windows at the edge are dropped."""

    kind: Literal["pool"] = "pool"
    function: Literal["max", "average", "global_average"] = "max"
    """`global_average` gives (C, 1, 1) whatever the size."""
    size: Window = 2
    """Window and stride, in pixels."""


class BatchNorm(Part):
    """Batch normalisation (Ioffe & Szegedy 2015), with PyTorch's momentum, eps and unbiased running variance."""

    kind: Literal["batch_norm"] = "batch_norm"
    momentum: Annotated[NonNegative, Field(le=1)] = 0.1
    """Weight of the new batch in the running statistics (PyTorch's sense; Keras counts the old)."""
    eps: Positive = 1e-5
    """Added to the variance."""


class LayerNorm(Part):
    """Normalises each row over all its features (Ba et al. 2016)."""

    kind: Literal["layer_norm"] = "layer_norm"
    eps: Positive = 1e-5
    """Added to the variance."""


class Dropout(Part):
    """Sets a random share of the values to 0 in training and scales the rest by 1/(1 - rate)."""

    kind: Literal["dropout"] = "dropout"
    rate: Fraction
    """Probability of dropping a value, in [0, 1)."""


class Activation(Part):
    """A function of each value (softmax: of each row)."""

    kind: Literal["activation"] = "activation"
    function: Function
    """As in `torch.nn.functional`; gelu is the exact one."""
    negative_slope: Real = 0.01
    """Of leaky_relu only."""


class Residual(Part):
    """x + layers(x); the layers must keep the shape (He et al. 2016)."""

    kind: Literal["residual"] = "residual"
    layers: Annotated[list["Layer"], Field(min_length=1, max_length=50)]
    """The inner layers."""


Layer = Annotated[
    Flatten | Dense | Conv | Pool | BatchNorm | LayerNorm | Dropout | Activation | Residual,
    Field(discriminator="kind"),
]


class Mlp(Part):
    """A multi-layer perceptron: (dense, batch norm?, activation, dropout?) per hidden layer; images are flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[list[Size], Field(max_length=100)] = [128, 64]
    """Units of each hidden layer; empty gives a linear model."""
    activation: Function = "relu"
    """After each hidden layer."""
    batch_norm: Flag = False
    """Between each hidden dense layer and its activation."""
    dropout: Fraction = 0.0
    """After each activation."""


class Cnn(Part):
    """A convolutional network for images: (conv, batch norm?, activation, pool) blocks, then dense layers."""

    kind: Literal["cnn"] = "cnn"
    channels: Annotated[list[Size], Field(min_length=1, max_length=50)] = [32, 64]
    """Channels of each block."""
    kernel: Window = 3
    """Window of the convolutions, in pixels."""
    pool: Window = 2
    """Window of the max pooling after each block; 1 does not pool."""
    hidden: Annotated[list[Size], Field(max_length=50)] = [128]
    """Units of the dense layers behind the blocks."""
    activation: Function = "relu"
    """After each convolution and each dense layer."""
    batch_norm: Flag = False
    """Before each activation."""
    dropout: Fraction = 0.0
    """After each dense layer's activation."""


class Sequential(Part):
    """A list of layers. The dense output layer that fits the target is appended by the service."""

    kind: Literal["sequential"] = "sequential"
    layers: Annotated[list[Layer], Field(max_length=200)]
    """From input to output; the output layer is not among them."""


Model = Annotated[Mlp | Cnn | Sequential, Field(discriminator="kind")]


def has_batch_norm(layers: list[Layer]) -> bool:
    """Whether a step needs the statistics of its batch."""
    return any(
        isinstance(layer, BatchNorm) or (isinstance(layer, Residual) and has_batch_norm(layer.layers))
        for layer in layers
    )
