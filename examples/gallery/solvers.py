"""
A plateau that is not there
===========================

A balanced flow of the asymptotic law by SciPy's LSODA in omega and mu, and in dual coordinates. Where mu of
a losing head is below the error that LSODA controls it crosses zero, and leaves the limit for a better loss.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import spectral_icl as si

plt.style.use("spectral_icl.paper")
end = 2e3 if os.environ.get("GALLERY") == "small" else 2e5
p = si.Problem.multitask(task_sizes=(10, 10, 10), signal=(1.0, 1.0, 0.8), noise=0.1, context_length=200)
start = si.initial.dominant(p, heads=4, scale=0.011, margin=0.2, seed=3)
c = (p.dimension + p.tasks) ** -0.5


def field(_, theta):
    omega, mu = theta[:12].reshape(4, 3), theta[12:].reshape(4, 3)
    slope = si.gradient(p, omega, mu)
    return -2.0 * np.r_[(c * np.abs(omega) * slope.omega / 10).ravel(), (np.abs(mu) * slope.mu).ravel()]


t = np.geomspace(1.0, end, 200)
sol = si.gradient_flow(p, *start, t_end=end, t_eval=t)
theta0 = np.r_[start.omega.ravel(), start.mu.ravel()]
naive = solve_ivp(field, (0.0, end), theta0, "LSODA", t, rtol=1e-8, atol=1e-12)
losses = [si.loss(p, y[:12].reshape(4, 3), y[12:].reshape(4, 3)) for y in naive.y.T]
figure, axes = plt.subplots(figsize=(4.5, 2.9))
axes.plot(t, losses, "--", label=r"LSODA in $\omega$ and $\mu$")
axes.plot(t, sol.loss, "-", label="gradient_flow")
axes.set(xscale="log", yscale="log", xlabel="gradient-flow time $t$", ylabel="loss")
axes.legend()
figure.savefig("solvers.png")
