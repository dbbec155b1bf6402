"""What the heads and layers of trained linear attention do: their risk, importance, states and weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spectral_icl.io.checks import Floats, ProblemError, choice
from validation.sparse.linear_attention import LinearTransformer, Mask
from validation.sparse.prompts import SparsePrompts

TRIM = 1e-3  # share of prompts, those of the largest errors, left out of trimmed means
PENALTIES = tuple(10.0 ** (k / 4) for k in range(-20, 5))  # of the P-probe, over the trace

_CHUNK = 4000  # prompts at a time
_CLIPPED = 9.0  # largest squared error of a linear probe
_RIDGE = 1e-3  # its penalty, with standardised columns


class Importance(NamedTuple):
    """Risk of a model, and how much worse it is without each head.

    Attributes
    ----------
    risk : float
        Of the whole model.
    loss : list of ndarray, (H,) each
        What is lost, of every layer, without each head.
    """

    risk: float
    loss: list[Floats]


def squared_errors(model: LinearTransformer, prompts: SparsePrompts, mask: Mask | None = None) -> Floats:
    """Squared error at every prompt's query, against its label without noise."""
    told = []
    with torch.no_grad():
        for part in _chunks(prompts):
            told.append(model(part, mask))
        return _square(torch.cat(told) - prompts.target)


def errors_of(coefficients: Tensor, prompts: SparsePrompts) -> Floats:
    """Squared error of a linear predictor <beta, x_q>, of every prompt's ``coefficients``, at its query."""
    return _square(((coefficients - prompts.coefficients) * prompts.query).sum(dim=1))


def trimmed(squares: Floats, share: float = TRIM) -> tuple[float, float]:
    """Mean of all but the largest ``share``, and its standard error."""
    kept = np.sort(squares)[: squares.size - math.floor(share * squares.size)]
    return float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(kept.size))


def ratio(squares: Floats, others: Floats, share: float = TRIM) -> tuple[float, float]:
    """A mean over another on the same prompts, both `trimmed`, and its standard error."""
    mean, other = trimmed(squares, share)[0], trimmed(others, share)[0]
    cut = [np.minimum(part, np.quantile(part, 1.0 - share)) for part in (squares, others)]
    apart = cut[0] - mean / other * cut[1]
    return mean / other, float(apart.std(ddof=1) / np.sqrt(apart.size) / other)


def head_importance(
    model: LinearTransformer,
    data: SparsePrompts,
    mode: str = "mean",
    mask: Mask | None = None,
    share: float = TRIM,
) -> Importance:
    """Risk that is added by leaving out each head, at most what predicting zero would add.

    Parameters
    ----------
    model : LinearTransformer
    data : SparsePrompts
    mode : {'mean', 'zero'}
        What is in place of a head's V G W: its mean over prompts, which keeps the scale of what follows, or
        nothing.
    mask : sequence of Tensor, optional
        Heads that the model has.
    share : float
        Of the largest errors that are left out of all means.
    """
    choice("mode", mode, ("mean", "zero"))
    model, data = _double(model), data.to(torch.float64)
    mask = model.mask() if mask is None else mask
    parts = list(_chunks(data))
    nothing, _ = trimmed(_square(data.target), share)
    risk, _ = trimmed(squared_errors(model, data, mask), share)
    with torch.no_grad():
        states = [model.states(part, mask) for part in parts]
        lost = []
        for layer, heads in enumerate(model.heads):
            mean = torch.stack([state[layer].gram.sum(dim=0) for state in states]).sum(dim=0) / len(data.y)
            replaced = model.value[layer] @ mean @ model.circuit(layer)
            risks = []
            for head in range(heads):
                less = [part.clone() for part in mask]
                less[layer][head] = False
                other = replaced[head] if mode == "mean" and mask[layer][head] else None
                squares = []
                for part, state in zip(parts, states, strict=True):
                    after = model.step(layer, state[layer], less, other)
                    for later in range(layer + 1, len(model.heads)):
                        after = model.step(later, after, mask)
                    told = after.read(part.query)[:, 0] @ model.readout
                    squares.append(_square(told - part.target))
                risks.append(trimmed(np.concatenate(squares), share)[0])
            # a risk that is not finite is that of a model that has blown up: capped like the others
            lost.append(np.fmin(risks, nothing) - risk)
    return Importance(risk, lost)


def effective_heads(importance: Sequence[Floats]) -> Floats:
    """1 / sum_h P_h^2 of every layer, with P the shares of the positive importances; NaN where none is."""
    effective = []
    for layer in importance:
        positive = np.fmax(layer, 0.0)
        total = positive.sum()
        effective.append(total**2 / (positive**2).sum() if total > 0.0 else np.nan)
    return np.array(effective)


def prune(model: LinearTransformer, importance: Sequence[Floats], layers: Iterable[int]) -> list[Tensor]:
    """The mask that leaves the most important head alone in some layers, and every head in the others."""
    chosen = set(layers)
    if not chosen <= set(range(len(model.heads))):
        raise ProblemError("layers", sorted(chosen), f"layers of {len(model.heads)}, counted from 0")
    return model.mask([
        [int(np.nanargmax(values))] if layer in chosen else range(heads)
        for layer, (heads, values) in enumerate(zip(model.heads, importance, strict=True))
    ])  # fmt: skip


def linear_probe(
    model: LinearTransformer, train: SparsePrompts, test: SparsePrompts, mask: Mask | None = None
) -> list[float]:
    """Risk, after the embedding and after every layer, of the best linear readout of the query's column.

    Fitted by ridge regression on ``train``, with standardised rows; squared errors on ``test`` are clipped.
    """
    model = _double(model)
    risks = []
    with torch.no_grad():
        train, test = train.to(torch.float64), test.to(torch.float64)
        states = [model.states(part, mask) for part in (train, test)]
        for fit, check in zip(*states, strict=True):
            rows = fit.read(train.query)[:, 0]
            mean, scale = rows.mean(dim=0), rows.std(dim=0)
            scale[scale == 0.0] = 1.0  # of rows that nothing is written to
            rows = (rows - mean) / scale
            inner = rows.T @ rows / len(rows) + _RIDGE * torch.eye(
                rows.shape[1], dtype=rows.dtype, device=rows.device
            )
            weights = torch.linalg.solve(inner, rows.T @ train.target / len(rows))
            told = (check.read(test.query)[:, 0] - mean) / scale @ weights
            risks.append(float(np.minimum(_square(told - test.target), _CLIPPED).mean()))
    return risks


class ViewRisk(NamedTuple):
    """Risk of ridge regression on what layers make of covariates, at the best penalty.

    Attributes
    ----------
    layers : list of float
        After the embedding and after every layer.
    raw : float
        On the covariates themselves.
    preprocessed : float
        On r o x, with r = X^T y / n.
    """

    layers: list[float]
    raw: float
    preprocessed: float


def p_probe(model: LinearTransformer, prompts: SparsePrompts, mask: Mask | None = None) -> ViewRisk:
    """Whether a model's representation is preprocessed.

    A query x becomes B x, with B = prod_l (I + A_l) W_E of its prompt. The labels of the context are
    regressed on B x_i, not on its tokens, which know them. The penalty is a share of the trace of the
    features' second moment, and the best of `PENALTIES`; the error is |beta - w|^2.
    """
    model = _double(model)
    prompts = prompts.to(torch.float64)
    moments = prompts.moments
    gram, r = moments[:, :-1, :-1], moments[:, :-1, -1]
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    with torch.no_grad():
        views = [state.rows[:, :-1] for state in model.states(prompts, mask)]

        def risk(metric: Tensor) -> float:
            trace = (metric @ gram).diagonal(dim1=1, dim2=2).sum(dim=1)
            risks = []
            for penalty in PENALTIES:
                inner = metric @ gram + penalty * trace[:, None, None] * eye
                beta = torch.linalg.solve(inner, (metric @ r[:, :, None])[:, :, 0])
                squares = ((beta - prompts.coefficients) ** 2).sum(dim=1)
                risks.append(trimmed(squares.cpu().numpy())[0])
            return min(risks)

        return ViewRisk(
            [risk(view @ view.mT) for view in views],
            risk(eye.expand_as(gram)),
            risk(torch.diag_embed(r**2)),
        )


def layer1_readout(model: LinearTransformer) -> tuple[float, float]:
    """How the first layer writes r_k x_k: alignment and rank.

    The part of the layer that depends on r adds sum_k r_k T_k x to a query x. Alignment is the share of
    sum_k |T_k|^2 in the columns k, 1 / d by chance; the rank is the participation ratio of the squared
    singular values of these columns together. A step of gradient descent has alignment 1 and rank 1: all are
    written to the label. Preprocessing has alignment 1 and rank d.
    """
    with torch.no_grad():
        model = _double(model)
        covariates, label = model.embed[:, :-1], model.embed[:, -1]
        value, inner = model.value[0], model.circuit(0) @ covariates
        by_label = torch.einsum("hi,hkj->kij", value @ label, covariates.T @ inner)
        by_covariate = torch.einsum("hik,hj->kij", value @ covariates, label @ inner)
        written = by_label + by_covariate
        own = written.diagonal(dim1=0, dim2=2)  # (D, d)
        squares = torch.linalg.svdvals(own) ** 2
        alignment = (own**2).sum() / (written**2).sum()
        rank = squares.sum() ** 2 / (squares**2).sum()
    return float(alignment), float(rank)


def _double(model: LinearTransformer) -> LinearTransformer:
    """A copy in double precision."""
    return copy.deepcopy(model).double()


def _square(errors: Tensor) -> Floats:
    """Squares, in double precision and out of PyTorch."""
    return (errors.detach().double() ** 2).cpu().numpy()


def _chunks(prompts: SparsePrompts) -> Iterator[SparsePrompts]:
    """Prompts, so many at a time that their states fit into memory."""
    for start in range(0, len(prompts.y), _CHUNK):
        yield SparsePrompts(*(part[start : start + _CHUNK] for part in prompts))
