"""The start of weights and biases. fan_in and fan_out count the inputs and outputs of a unit, times the window's area.

The normal kinds can be truncated: drawn again beyond ±2 standard deviations, as `torch.nn.init.trunc_normal_` does
with a, b = ∓2 std. That narrows the spread to 0.88 of what the formula says; Keras widens the normal first to make
up for it.
"""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Flag, Part, Positive, Real

Fan = Literal["fan_in", "fan_out"]


class AutoInit(Part):
    """By the activation that follows the layer: relu family → he_normal, selu → lecun_normal, else xavier_uniform."""

    kind: Literal["auto"] = "auto"


class Zeros(Part):
    """All weights 0: every unit of a layer learns the same. Allowed, because it teaches something."""

    kind: Literal["zeros"] = "zeros"
    bias: Real = 0.0
    """The start of every bias."""


class ConstantInit(Part):
    """All weights the same: as with zeros, the units of a layer never part."""

    kind: Literal["constant"] = "constant"
    value: Real
    """Of every weight."""
    bias: Real = 0.0
    """The start of every bias."""


class Normal(Part):
    """N(0, std²)."""

    kind: Literal["normal"] = "normal"
    std: Positive = 0.01
    """Standard deviation (Keras: 0.05, PyTorch: 1)."""
    truncated: Flag = False
    """Nothing beyond ±2 std."""
    bias: Real = 0.0
    """The start of every bias."""


class Uniform(Part):
    """U(-bound, bound)."""

    kind: Literal["uniform"] = "uniform"
    bound: Positive = 0.05
    """Half the width."""
    bias: Real = 0.0
    """The start of every bias."""


class XavierNormal(Part):
    """N(0, gain²·2/(fan_in + fan_out)) (Glorot & Bengio 2010; `torch.nn.init.xavier_normal_`)."""

    kind: Literal["xavier_normal"] = "xavier_normal"
    gain: Positive = 1.0
    """Factor on the standard deviation."""
    truncated: Flag = False
    """Nothing beyond ±2 standard deviations."""
    bias: Real = 0.0
    """The start of every bias."""


class XavierUniform(Part):
    """U(-a, a), a = gain·√(6/(fan_in + fan_out)) (`torch.nn.init.xavier_uniform_`)."""

    kind: Literal["xavier_uniform"] = "xavier_uniform"
    gain: Positive = 1.0
    """Factor on the bound."""
    bias: Real = 0.0
    """The start of every bias."""


class HeNormal(Part):
    """N(0, gain²·2/fan) (He et al. 2015; `torch.nn.init.kaiming_normal_`, whose gain √2 is the 2)."""

    kind: Literal["he_normal"] = "he_normal"
    gain: Positive = 1.0
    """Factor on the standard deviation, beside relu's √2."""
    mode: Fan = "fan_in"
    """Which fan: `fan_in` keeps the size of what goes forward, `fan_out` of the gradient."""
    truncated: Flag = False
    """Nothing beyond ±2 standard deviations."""
    bias: Real = 0.0
    """The start of every bias."""


class HeUniform(Part):
    """U(-a, a), a = gain·√(6/fan) (`torch.nn.init.kaiming_uniform_`, whose gain √2 is in the 6)."""

    kind: Literal["he_uniform"] = "he_uniform"
    gain: Positive = 1.0
    """Factor on the bound, beside relu's √2."""
    mode: Fan = "fan_in"
    """Which fan: `fan_in` keeps the size of what goes forward, `fan_out` of the gradient."""
    bias: Real = 0.0
    """The start of every bias."""


class LecunNormal(Part):
    """N(0, gain²/fan_in) (LeCun et al. 1998; for selu: Klambauer et al. 2017)."""

    kind: Literal["lecun_normal"] = "lecun_normal"
    gain: Positive = 1.0
    """Factor on the standard deviation."""
    truncated: Flag = False
    """Nothing beyond ±2 standard deviations."""
    bias: Real = 0.0
    """The start of every bias."""


class LecunUniform(Part):
    """U(-a, a), a = gain·√(3/fan_in) (Keras's `LecunUniform`)."""

    kind: Literal["lecun_uniform"] = "lecun_uniform"
    gain: Positive = 1.0
    """Factor on the bound."""
    bias: Real = 0.0
    """The start of every bias."""


class Orthogonal(Part):
    """gain times a random orthogonal matrix [out, in·window], of its columns or rows if it is not square
    (Saxe et al. 2014; `torch.nn.init.orthogonal_`)."""

    kind: Literal["orthogonal"] = "orthogonal"
    gain: Positive = 1.0
    """The length of every row, or column."""
    bias: Real = 0.0
    """The start of every bias."""


Init = Annotated[
    AutoInit
    | Zeros
    | ConstantInit
    | Normal
    | Uniform
    | XavierNormal
    | XavierUniform
    | HeNormal
    | HeUniform
    | LecunNormal
    | LecunUniform
    | Orthogonal,
    Field(discriminator="kind"),
]
