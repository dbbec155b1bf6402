"""
Features of a block become equal
================================

One head, and a task of 30 features that start with unequal omega, two of the wrong sign. Left: ratios persist
during the warm-up; then large features wait for small ones, and those of the wrong sign vanish. Right: the
spread of 1 / omega over the others falls as the integral of 4 c kappa mu A / d says from the first moment on,
and in the end at the rate of a head's limit on 28 of 30 features.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si
from spectral_icl.multitask.flow.equality import equalising_rate

plt.style.use("spectral_icl.paper")
t = np.linspace(0.0, 66.0, 50 if os.environ.get("GALLERY") == "small" else 2000)
p = si.Problem.multitask(task_sizes=(30,), signal=10.0, noise=0.1, context_length=300)
omega, mu = si.initial.scattered(p.by_feature(), heads=1, scale=0.003, scatter=1.0, seed=0)
omega[0, :2] *= -1.0
sol = si.gradient_flow(p.by_feature(), omega, mu, t_end=t[-1])
path, mu = np.abs(sol(t).omega[:, 0]), sol(t).mu[:, 0, 0]
spread = (1.0 / path[:, 2:]).std(axis=1)
steps = 0.5 * np.diff(t) * (mu[1:] + mu[:-1])
passed = 4.0 * sol.key_scale * p.power[0] / 30.0 * np.append(0.0, np.cumsum(steps))
limit = spread[-1] * np.exp((28.0 / 30.0) ** 0.5 * equalising_rate(p) * (t[-1] - t))

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.9))
left.semilogy(t, path[:, 2:], color="C0", lw=0.6)
left.semilogy(t, path[:, :2], color="C1", lw=0.9)
left.set(xlabel="time", ylabel=r"$|\omega|$ of every feature", ylim=(1e-6, 1.0))
right.semilogy(t, spread, lw=2.0, label="measured")
right.semilogy(t, spread[0] * np.exp(-passed), "k--", lw=0.9, label="derived")
right.semilogy(t, limit, color="C1", ls=":", label="rate of the limit")
right.set(xlabel="time", ylabel=r"spread of $1 / \omega$", ylim=(0.3 * spread[-1], 10.0 * spread[0]))
right.legend()
figure.savefig("general_starts.png")
