"""How a field of an experiment file is written on an axis, with the symbols of the theory."""

from __future__ import annotations

import re

_INDEX = re.compile(r"\[(\d+)\]")
_TEXTS = {
    "problem.context_length": "context length $L$",
    "problem.snr": "signal-to-noise ratio",
    "problem.tasks": "number of tasks $I$",
    "problem.noise": r"noise variance $\sigma^2$",
    "problem.signal": "signal power $A$",
    "problem.task_sizes": "size of a task $d_i$",
    "problem.block_sizes": "size of a block $d_b$",
    "problem.covariance": r"covariance $\kappa$",
    "model.heads": "number of heads $H$",
    "model.imbalance_omega": r"imbalance $D_\omega$",
    "model.imbalance_mu": r"imbalance $D_\mu$",
    "model.key_scale": "key scale $c$",
    "initial.scale": "scale of the start",
    "initial.margin": "margin of the start",
    "initial.qk": "$q$ and $k$ at the start",
    "initial.ov_low": "$o$ and $v$ at the start, lower",
    "initial.ov_high": "$o$ and $v$ at the start, upper",
    "initial.omega": r"$\omega$ at the start",
    "initial.mu": r"$\mu$ at the start",
    "initial.seed": "seed of the start",
    "flow.t_end": r"$t_{\mathrm{end}}$",
    "sparse.d": "features $d$",
    "sparse.s": "nonzero weights $s$",
    "sparse.n": "context pairs $n$",
    "sparse.noise": r"noise variance $\sigma^2$",
    "sparse.snr": "signal-to-noise ratio",
    "sparse.signal": "signal $v$",
    "sparse.correlation": r"correlation $\rho$",
    "sparse.support_variance": "variance on the support",
    "study.prompts": "prompts",
    "study.draws": "draws",
    "study.seed": "seed",
    "root_seed": "root seed",
    "time": "gradient-flow time $t$",
}
# symbols of entries, which have indices
_SYMBOLS = {
    "problem.snr": r"\mathrm{SNR}",
    "problem.noise": r"\sigma^2",
    "problem.signal": "A",
    "problem.task_sizes": "d",
    "problem.block_sizes": "d",
    "problem.covariance": r"\kappa",
    "model.imbalance_omega": r"D_\omega",
    "model.imbalance_mu": r"D_\mu",
    "initial.omega": r"\omega",
    "initial.mu": r"\mu",
}
# symbols for "H = 2" in a legend; others are written out
_SHORT = {
    "problem.context_length": "$L$",
    "problem.snr": "SNR",
    "problem.tasks": "$I$",
    "problem.noise": r"$\sigma^2$",
    "problem.signal": "$A$",
    "problem.covariance": r"$\kappa$",
    "model.heads": "$H$",
    "model.imbalance_omega": r"$D_\omega$",
    "model.imbalance_mu": r"$D_\mu$",
    "model.key_scale": "$c$",
    "initial.scale": "scale",
    "initial.margin": "margin",
    "flow.t_end": r"$t_{\mathrm{end}}$",
    "sparse.d": "$d$",
    "sparse.s": "$s$",
    "sparse.n": "$n$",
    "sparse.noise": r"$\sigma^2$",
    "sparse.snr": "SNR",
    "sparse.signal": "$v$",
    "sparse.correlation": r"$\rho$",
    "time": "$t$",
}


def label(path: str, dimension: str = "") -> str:
    """The label of an axis: of a path, or of the dimension ``dimension`` with the values of that path."""
    field = _INDEX.sub("", path)
    text = _entry(path) if field != path else _TEXTS.get(path, path)
    named = dimension not in ("", path)
    return f"{dimension} ({text})" if named else text


def short(path: str) -> str:
    """The name in front of a value, as in H = 2."""
    return _entry(path) if "[" in path else _SHORT.get(path, path.rpartition(".")[2])


def both_imbalances(paths: set[str]) -> bool:
    """Whether the imbalances of KQ and OV are one number D."""
    return paths == {"model.imbalance_omega", "model.imbalance_mu"}


def _entry(path: str) -> str:
    field = _INDEX.sub("", path)
    indices = ",".join(_INDEX.findall(path))
    symbol = _SYMBOLS.get(field)
    if symbol is None:
        return path
    base, caret, power = symbol.partition("^")
    if "_" in base:  # D_\omega has a subscript already
        return f"${base}" + f"[{indices}]$"
    return f"${base}_{{{indices}}}{caret}{power}$"
