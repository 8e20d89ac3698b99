"""How the weights move: optimizers, penalties, clipping.

`usual_lr` is the range of learning rates that is rarely left on purpose; outside it there is a warning. `lr: auto` is
found at the start of the run by a range test (Smith 2017): the rate at which the loss falls most steeply.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from jobs.spec.values import Auto, Count, Flag, NonNegative, Part, Positive

Beta = Annotated[NonNegative, Field(lt=1)]
Rate = Positive | Auto


class Sgd(Part):
    """v ← μv + g; w ← w - lr·v, with nesterov w ← w - lr(g + μv) (`torch.optim.SGD`)."""

    usual_lr: ClassVar = (1e-4, 1.0)
    kind: Literal["sgd"] = "sgd"
    lr: Rate = 1e-3
    """Learning rate."""
    momentum: Beta = 0.0
    """μ."""
    nesterov: Flag = False
    """Nesterov's accelerated gradient; needs a momentum."""


class Adagrad(Part):
    """s ← s + g²; w ← w - lr·g/(√s + eps) (`torch.optim.Adagrad`)."""

    usual_lr: ClassVar = (1e-3, 1.0)
    kind: Literal["adagrad"] = "adagrad"
    lr: Rate = 1e-2
    """Learning rate."""
    initial_accumulator: NonNegative = 0.0
    """s before the first step (Keras starts at 0.1)."""
    eps: Positive = 1e-10
    """Outside the root."""


class RmsProp(Part):
    """s ← αs + (1-α)g²; w ← w - lr·g/(√s + eps) (`torch.optim.RMSprop`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["rmsprop"] = "rmsprop"
    lr: Rate = 1e-2
    """Learning rate."""
    alpha: Beta = 0.99
    """Keras's rho."""
    eps: Positive = 1e-8
    """Outside the root."""
    momentum: Beta = 0.0
    """Momentum on the scaled gradient."""
    centered: Flag = False
    """Divide by the estimated standard deviation instead of the root mean square."""


class Adam(Part):
    """w ← w - lr·m̂/(√v̂ + eps) with bias-corrected moments (Kingma & Ba 2015; `torch.optim.Adam`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["adam"] = "adam"
    lr: Rate = 1e-3
    """Learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the second moment."""
    eps: Positive = 1e-8
    """Added after the bias correction."""
    amsgrad: Flag = False
    """Divide by the largest second moment so far (Reddi et al. 2018)."""


class AdamW(Part):
    """Adam with decoupled decay: w ← w(1 - lr·weight_decay) first (Loshchilov & Hutter 2019; `torch.optim.AdamW`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["adamw"] = "adamw"
    lr: Rate = 1e-3
    """Learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the second moment."""
    eps: Positive = 1e-8
    """Added after the bias correction."""
    amsgrad: Flag = False
    """Divide by the largest second moment so far (Reddi et al. 2018)."""
    weight_decay: NonNegative = 1e-2
    """On weights only, unless `regularization.include_biases`."""


class Adadelta(Part):
    """s ← ρs + (1-ρ)g²; d = g·√(u + eps)/√(s + eps); u ← ρu + (1-ρ)d²; w ← w - lr·d (Zeiler 2012;
    `torch.optim.Adadelta`)."""

    usual_lr: ClassVar = (1e-2, 1.0)
    kind: Literal["adadelta"] = "adadelta"
    lr: Rate = 1.0
    """Learning rate."""
    rho: Beta = 0.9
    """ρ (Keras: 0.95)."""
    eps: Positive = 1e-6
    """Inside both roots."""


class Adamax(Part):
    """Adam with u ← max(β₂u, |g| + eps) for the second moment: w ← w - lr·m̂/u (Kingma & Ba 2015;
    `torch.optim.Adamax`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["adamax"] = "adamax"
    lr: Rate = 2e-3
    """Learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the largest gradient."""
    eps: Positive = 1e-8
    """Added to |g|."""


class Nadam(Part):
    """Adam with Nesterov's momentum, μₜ = β₁(1 - ½·0.96^(t·momentum_decay)) (Dozat 2016; `torch.optim.NAdam`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["nadam"] = "nadam"
    lr: Rate = 2e-3
    """Learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the second moment."""
    eps: Positive = 1e-8
    """Added after the bias correction."""
    momentum_decay: NonNegative = 4e-3
    """How fast μ grows to β₁."""


class Radam(Part):
    """Adam that takes plain momentum steps until the variance of 1/√v̂ can be estimated, then rectifies it
    (Liu et al. 2020; `torch.optim.RAdam`)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["radam"] = "radam"
    lr: Rate = 1e-3
    """Learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the second moment."""
    eps: Positive = 1e-8
    """Added to √v, before the bias correction."""


class Muon(Part):
    """Momentum whose step is orthogonalised by Newton-Schulz, for the weights of dense layers; adamw with the same lr
    and decay for everything else (Jordan et al. 2024; `torch.optim.Muon`, `adjust_lr_fn='match_rms_adamw'`, which
    gives its steps the size of adamw's)."""

    usual_lr: ClassVar = (1e-5, 1e-2)
    kind: Literal["muon"] = "muon"
    lr: Rate = 1e-3
    """Learning rate."""
    momentum: Beta = 0.95
    """Decay of the momentum."""
    nesterov: Flag = True
    """Look ahead along the momentum."""
    steps: Annotated[Count, Field(le=50)] = 5
    """Newton-Schulz iterations, in bfloat16."""
    weight_decay: NonNegative = 1e-2
    """Decoupled, on weights only, unless `regularization.include_biases`."""
    beta1: Beta = 0.9
    """adamw's decay of the first moment."""
    beta2: Beta = 0.999
    """adamw's decay of the second moment."""
    eps: Positive = 1e-8
    """adamw's eps."""


Optimizer = Annotated[
    Sgd | Adagrad | Adadelta | RmsProp | Adam | AdamW | Adamax | Nadam | Radam | Muon, Field(discriminator="kind")
]


class Regularization(Part):
    """Penalties on weights; biases and norm parameters only if asked. The logged losses do not contain them."""

    l1: NonNegative = 0.0
    """λ of λΣ|w|: adds λ·sign(w) to the gradient."""
    l2: NonNegative = 0.0
    """λ of λΣw² (Keras's factor): adds 2λw to the gradient."""
    weight_decay: NonNegative = 0.0
    """Decoupled: w ← w(1 - lr·weight_decay) before each step, whatever the optimizer. For adamw set its own field."""
    max_norm: Positive | None = None
    """After each step, scales the incoming weights of each unit (of a convolution: of each channel) down to this L2
    norm (Keras's `MaxNorm`)."""
    include_biases: Flag = False
    """Also on biases and norm parameters."""


class ClipGlobalNorm(Part):
    """Scales all gradients together so that their joint L2 norm is at most `max_norm` (`clip_grad_norm_`)."""

    kind: Literal["global_norm"] = "global_norm"
    max_norm: Positive
    """Largest norm."""


class ClipParameterNorm(Part):
    """Scales each parameter's gradient so that its own L2 norm is at most `max_norm` (Keras's `clipnorm`)."""

    kind: Literal["per_parameter_norm"] = "per_parameter_norm"
    max_norm: Positive
    """Largest norm."""


class ClipValue(Part):
    """Cuts each gradient value to [-limit, limit]."""

    kind: Literal["value"] = "value"
    limit: Positive
    """Largest absolute value."""


Clip = Annotated[ClipGlobalNorm | ClipParameterNorm | ClipValue, Field(discriminator="kind")]
