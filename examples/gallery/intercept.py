"""
An intercept, and heads that remove it
======================================

Every head passes a constant on, times its $\\mu$, and a head that reads the linear part has a $\\mu$ near
$\\sqrt{d}$. So one head gives way as the intercept grows. A pair whose $\\mu$ sum to zero passes nothing on
and loses the intercept alone; a free pair reads it too. By the asymptotic law, $d = 50$, $L = 5000$.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
intercepts = np.linspace(0.0, 1.0, 4 if os.environ.get("GALLERY") == "small" else 21)
tasks = {"task_sizes": (50,), "noise": 0.1, "context_length": 5000}
problems = [si.nonlinear.SingleIndex(coefficients=(c, 1.0), **tasks) for c in intercepts]
best = {
    "best head": [si.nonlinear.best_head(p) for p in problems],
    r"best pair, sum of $\mu$ 0": [si.nonlinear.best_pair(p) for p in problems],
    "best pair": [si.nonlinear.best_pair(p, balanced=False) for p in problems],
}
figure, (loss, omega, gain) = plt.subplots(1, 3, figsize=(6.75, 2.4))
for name, found in best.items():
    loss.plot(intercepts, [b.loss - 0.1 for b in found], label=name)
    gain.plot(intercepts, [b.gain for b in found])
loss.plot(intercepts, [si.nonlinear.lower_bound(p)[0] - 0.1 for p in problems], "k:", label="bound")
omega.plot(intercepts, [50**0.5 * b.omega[0] for b in best["best head"]], label=r"$\sqrt{d}\, \omega$")
omega.plot(intercepts, [b.mu[0] for b in best["best head"]], "--", label=r"$\mu$")
loss.set(yscale="log", title="loss without noise")
omega.set(title="best head")
gain.set(title=r"sum of $\mu$, the factor of $c_0$")
omega.legend()
for axes in (loss, omega, gain):
    axes.set_xlabel("intercept $c_0$")
figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure.savefig("intercept.png")
