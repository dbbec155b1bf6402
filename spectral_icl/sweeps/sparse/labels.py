"""The entries of a study's file in words and in the symbols of the theory."""

from __future__ import annotations

from spectral_icl.sweeps.labels import Label

LABELS = {
    "sparse.d": Label("features $d$", "$d$"),
    "sparse.s": Label("nonzero weights $s$", "$s$"),
    "sparse.n": Label("context pairs $n$", "$n$"),
    "sparse.noise": Label(r"noise variance $\sigma^2$", r"$\sigma^2$"),
    "sparse.snr": Label("signal-to-noise ratio", "SNR"),
    "sparse.signal": Label("signal $v$", "$v$"),
    "sparse.correlation": Label(r"correlation $\rho$", r"$\rho$"),
    "sparse.support_variance": Label("variance on the support"),
    "study.prompts": Label("prompts"),
    "study.draws": Label("draws"),
    "study.seed": Label("seed"),
    "root_seed": Label("root seed"),
}
