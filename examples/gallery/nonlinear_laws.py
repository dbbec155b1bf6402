"""
Nonlinear tasks: softmax attention beside both laws
===================================================

A task of three Hermite degrees with an intercept, under two heads whose $\\mu$ sum to one. What prompts of
finite length add to the loss: softmax attention on drawn prompts, with standard errors, and both laws of the
context. The asymptotic law is off by one part at all lengths, since the block has twenty features only.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
small = os.environ.get("GALLERY") == "small"
omega, mu = np.array([[0.15], [-0.1]]), np.array([[4.0], [-3.0]])
lengths = np.array([250, 1000]) if small else np.array([125, 250, 500, 1000, 2000, 4000])
work = 20_000 if small else 2_000_000  # pairs that are drawn
rest = {"task_sizes": (20,), "coefficients": (0.3, 1.0, 0.5, 0.4), "noise": 0.1}
*problems, endless = (si.nonlinear.SingleIndex(context_length=n, **rest) for n in (*lengths, 1e12))
figure, axes = plt.subplots(figsize=(4.0, 2.8))
for kernel, dashes in {"first-order": "-", "asymptotic": "--"}.items():
    losses = np.array([si.nonlinear.loss(p, omega, mu, kernel) for p in problems])
    added = losses - si.nonlinear.loss(endless, omega, mu)
    axes.plot(lengths, lengths * added, ls=dashes, label=f"{kernel} law")
drawn = [
    si.nonlinear.losses(p, omega, mu, work // n, seed=0).beyond
    for p, n in zip(problems, lengths, strict=True)
]
mean, error = (np.array([getattr(one, part)[0] for one in drawn]) for part in ("mean", "error"))
axes.errorbar(lengths, lengths * mean, lengths * error, fmt="ko", ms=3, label="softmax, sampled")
axes.set(xscale="log", xlabel="context length $L$", ylabel="$L$ times what it adds to the loss")
axes.set_xticks(lengths, [str(n) for n in lengths])
axes.minorticks_off()
axes.set_ylim(bottom=0.0)
axes.legend()
figure.savefig("nonlinear_laws.png")
