"""The entries of a flow's file in words and in the symbols of the theory."""

from __future__ import annotations

from spectral_icl.sweeps.labels import Label

LABELS = {
    "problem.context_length": Label("context length $L$", "$L$"),
    "problem.snr": Label("signal-to-noise ratio", "SNR", r"\mathrm{SNR}"),
    "problem.tasks": Label("number of tasks $I$", "$I$"),
    "problem.noise": Label(r"noise variance $\sigma^2$", r"$\sigma^2$", r"\sigma^2"),
    "problem.signal": Label("signal power $A$", "$A$", "A"),
    "problem.decay": Label("decay of the signal powers $a$", "$a$", "a"),
    "problem.task_sizes": Label("size of a task $d_i$", symbol="d"),
    "problem.block_sizes": Label("size of a block $d_b$", symbol="d"),
    "problem.covariance": Label(r"covariance $\kappa$", r"$\kappa$", r"\kappa"),
    "model.heads": Label("number of heads $H$", "$H$"),
    "model.imbalance_omega": Label(r"imbalance $D_\omega$", r"$D_\omega$", r"D_\omega"),
    "model.imbalance_mu": Label(r"imbalance $D_\mu$", r"$D_\mu$", r"D_\mu"),
    "model.key_scale": Label("key scale $c$", "$c$"),
    "initial.scale": Label("scale of the start", "scale"),
    "initial.margin": Label("margin of the start", "margin"),
    "initial.qk": Label("$q$ and $k$ at the start"),
    "initial.ov_low": Label("$o$ and $v$ at the start, lower"),
    "initial.ov_high": Label("$o$ and $v$ at the start, upper"),
    "initial.omega": Label(r"$\omega$ at the start", symbol=r"\omega"),
    "initial.mu": Label(r"$\mu$ at the start", symbol=r"\mu"),
    "initial.seed": Label("seed of the start"),
    "flow.t_end": Label(r"$t_{\mathrm{end}}$", r"$t_{\mathrm{end}}$"),
    "root_seed": Label("root seed"),
    "time": Label("gradient-flow time $t$", "$t$"),
}
TOGETHER = {frozenset({"model.imbalance_omega", "model.imbalance_mu"}): "imbalance $D$"}
NUMBERED = ("head", "task", "block")  # dimensions whose places are written "head 2"
