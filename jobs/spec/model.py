"""What is trained: layers, models made of them, and their initial weights."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Count, Flag, Fraction, NonNegative, Part, Positive, Real

Function = Literal["sigmoid", "tanh", "softmax", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"]
Size = Annotated[Count, Field(le=1_000_000)]
Window = Annotated[Count, Field(le=512)]


class AutoInit(Part):
    """By the activation that follows the layer: relu family → he_normal, selu → lecun_normal, else xavier_uniform."""

    kind: Literal["auto"] = "auto"


class Zeros(Part):
    """All weights 0: every unit of a layer learns the same. Allowed, because it teaches something."""

    kind: Literal["zeros"] = "zeros"


class Normal(Part):
    """N(0, std²)."""

    kind: Literal["normal"] = "normal"
    std: Positive = 0.01
    """Standard deviation."""


class Uniform(Part):
    """U(-bound, bound)."""

    kind: Literal["uniform"] = "uniform"
    bound: Positive = 0.05
    """Half the width."""


class XavierNormal(Part):
    """N(0, gain²·2/(fan_in + fan_out)) (Glorot & Bengio 2010; `torch.nn.init.xavier_normal_`)."""

    kind: Literal["xavier_normal"] = "xavier_normal"
    gain: Positive = 1.0
    """Factor on the standard deviation."""


class XavierUniform(Part):
    """U(-a, a), a = gain·√(6/(fan_in + fan_out)) (`torch.nn.init.xavier_uniform_`)."""

    kind: Literal["xavier_uniform"] = "xavier_uniform"
    gain: Positive = 1.0
    """Factor on the bound."""


class HeNormal(Part):
    """N(0, 2/fan_in) (He et al. 2015; `torch.nn.init.kaiming_normal_`)."""

    kind: Literal["he_normal"] = "he_normal"


class HeUniform(Part):
    """U(-a, a), a = √(6/fan_in) (`torch.nn.init.kaiming_uniform_`)."""

    kind: Literal["he_uniform"] = "he_uniform"


class LecunNormal(Part):
    """N(0, 1/fan_in) (Klambauer et al. 2017, for selu)."""

    kind: Literal["lecun_normal"] = "lecun_normal"


Init = Annotated[
    AutoInit | Zeros | Normal | Uniform | XavierNormal | XavierUniform | HeNormal | HeUniform | LecunNormal,
    Field(discriminator="kind"),
]


class Flatten(Part):
    """(C, H, W) → (C·H·W); does nothing to a table's row."""

    kind: Literal["flatten"] = "flatten"


class Dense(Part):
    """y = Wx + b over the last dimension."""

    kind: Literal["dense"] = "dense"
    units: Size
    """Outputs."""
    bias: Flag = True
    """Whether there is a b; it starts at 0."""
    init: Init = Field(default_factory=AutoInit)
    """The start of W; auto takes the job's `init`."""


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
    """Whether there is a bias per channel; it starts at 0."""
    init: Init = Field(default_factory=AutoInit)
    """The start of the kernel; auto takes the job's `init`."""


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
