"""Fits scalers with scikit-learn's estimators in float64: the caller hands over training rows and nothing else."""

from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np
from sklearn import preprocessing as estimators

from jobs.spec.data import (
    AutoScaler,
    MaxAbsScaler,
    MinMaxScaler,
    NoScaler,
    PowerScaler,
    QuantileScaler,
    RobustScaler,
    Scaler,
    StandardScaler,
)
from jobs.spec.preprocessing import Power, Quantile, Scaling
from trainer import alive
from trainer.features import encoding
from trainer.features.encoding import Matrix


def fit(scaler: Scaler, x: Matrix) -> list[Scaling]:
    """One per column of x [N, F], which has no gaps. What overflows is not finite in the result."""
    with np.errstate(all="ignore"):
        match scaler:
            case QuantileScaler():
                return _quantiles(scaler, x)
            case PowerScaler():
                return [_power(x[:, [i]]) for i in range(x.shape[1])]
            case _:
                center, scale = affine(scaler, [x], x.shape[1])
                return [Scaling(center=c, scale=s) for c, s in zip(center, scale, strict=True)]


def affine(scaler: Scaler, chunks: Iterable[Matrix], width: int) -> tuple[list[float], list[float]]:
    """`center` and `scale` per column, so that x' = (x - center)/scale is what scikit-learn's scaler computes.

    Only `robust` needs all chunks at once.
    """
    match scaler:
        case NoScaler():
            center, scale = np.zeros(width), np.ones(width)
        case StandardScaler():
            fitted = _fitted(estimators.StandardScaler(), chunks)
            center, scale = fitted.mean_, fitted.scale_
        case MinMaxScaler():
            fitted = _fitted(estimators.MinMaxScaler(feature_range=(scaler.low, scaler.high)), chunks)
            center, scale = fitted.data_min_ - scaler.low / fitted.scale_, 1 / fitted.scale_
        case MaxAbsScaler():
            center, scale = np.zeros(width), _fitted(estimators.MaxAbsScaler(), chunks).scale_
        case RobustScaler():
            quantile_range = (scaler.q_low, scaler.q_high)
            fitted = estimators.RobustScaler(quantile_range=quantile_range).fit(np.concatenate([*chunks]))
            center, scale = fitted.center_, fitted.scale_
        case AutoScaler():
            raise ValueError("an auto scaler is resolved before training")
        case QuantileScaler() | PowerScaler():
            raise ValueError(f"a {scaler.kind} scaler is no affine function")
        case _:
            assert_never(scaler)
    return center.tolist(), scale.tolist()


def _fitted(estimator: Any, chunks: Iterable[Matrix]) -> Any:
    for chunk in chunks:
        alive.say()
        estimator.partial_fit(chunk)
    return estimator


def _quantiles(scaler: QuantileScaler, x: Matrix) -> list[Scaling]:
    points = min(scaler.n_quantiles, len(x))
    fitted = estimators.QuantileTransformer(n_quantiles=points, output_distribution=scaler.output, subsample=None)
    quantiles = np.maximum.accumulate(fitted.fit(x).quantiles_)
    return [Scaling(transform=Quantile(quantiles=q, output=scaler.output)) for q in quantiles.T.tolist()]


def _power(x: Matrix) -> Scaling:
    transform = Power(exponent=_exponent(x))
    scaler = estimators.StandardScaler().fit(encoding.transformed(x, transform))
    return Scaling(transform=transform, center=float(scaler.mean_[0]), scale=float(scaler.scale_[0]))


def _exponent(x: Matrix) -> float:
    """1, which changes nothing, where values of both signs lie too far apart for the search (beyond about 1e146)."""
    try:
        return float(estimators.PowerTransformer(standardize=False).fit(x).lambdas_[0])
    except ValueError:
        return 1.0
