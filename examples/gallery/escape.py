"""
The escape from the plateau
===========================

With an imbalance of the factors, however small, a losing head changes sign, and the limit of the balanced
flow (asymptotic law) is a saddle that is left. Left: the loss, and mu of both heads on task 0. Right:
when it is left, against the imbalance, measured and predicted from the state at emergence; balanced
weights never leave.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
start = si.initial.paper(p, 2, qk=0.1, ov_low=0.1, ov_high=0.2)
sol = si.gradient_flow(p, *start, parametrization=si.Factored(1e-6, 1e-6), t_end=100.0)

figure, panels = plt.subplot_mosaic([["loss", "times"], ["mu", "times"]], figsize=(6.75, 3.4))
t = np.linspace(0.0, 100.0, 600)
panels["loss"].plot(t, [si.loss(p, *sol(x)) for x in t], color="black")
panels["loss"].set(yscale="log", ylabel="loss")
si.plots.mu(sol, 0, panels["mu"])
panels["mu"].axhline(0.0, color="0.6", lw=0.6)
panels["mu"].set(ylabel=r"$\mu$ on task 0", xlabel="gradient-flow time $t$")
panels["mu"].legend()
imbalances = np.geomspace(1e-12, 1e-3, 4 if os.environ.get("GALLERY") == "small" else 19)
flows = [si.gradient_flow(p, *start, parametrization=si.Factored(D, D), t_end=200.0) for D in imbalances]
escapes = [min(flow.phases.escapes, key=lambda escape: escape.time) for flow in flows]
panels["times"].semilogx(imbalances, [e.time for e in escapes], "o", ms=3, label="measured")
panels["times"].semilogx(
    imbalances, [e.predicted_time for e in escapes], "--", color="0.3", label="predicted"
)
panels["times"].set(xlabel="imbalance $D$", ylabel="time of the escape")
panels["times"].legend()
figure.savefig("escape.png")
