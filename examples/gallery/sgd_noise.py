"""
Noise leaves the plateau
========================

Paths of stochastic gradient descent about the flow of balanced weights (asymptotic law), which never
leaves its plateau: noise unbalances the factors, and the paths do. Left: the loss, and mu of both heads on
task 0, with the band from 5 to 95 % of paths. Right: imbalances of the losing heads on the plateau, against
step over batch, one point for each path; diamonds are medians.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
start = si.initial.paper(p, 2, qk=0.1, ov_low=0.1, ov_high=0.2)
small = os.environ.get("GALLERY") == "small"
noisy = si.stochastic_flow(p, *start, step=0.02, batch=1000, t_end=100.0, paths=8 if small else 64)

figure, panels = plt.subplot_mosaic([["loss", "D"], ["mu", "D"]], figsize=(6.75, 3.6), width_ratios=(1.5, 1))
si.plots.loss(noisy.flow, panels["loss"], noisy)
panels["loss"].get_legend().remove()
panels["loss"].set(xscale="linear", xlim=(0, 100), xlabel=None)
si.plots.mu(noisy.flow, 0, panels["mu"], noisy)
panels["mu"].set(xscale="linear", xlim=(0, 100), ylabel=r"$\mu$ on task 0", xlabel="time $t$")
panels["mu"].legend(loc="upper left")
for batch in (1000,) if small else (250, 1000, 4000, 16000):
    paths = si.stochastic_flow(p, *start, step=0.02, batch=batch, t_end=26.0, paths=len(noisy))
    size = np.abs(paths.imbalance[:, -1, [1, 0], [0, 1]]).ravel()
    panels["D"].loglog(np.full(size.size, 0.02 / batch), size, "o", ms=2, color="0.7")
    panels["D"].loglog(0.02 / batch, np.median(size), "kD", ms=4, label="median" if batch == 1000 else None)
panels["D"].set(xlim=(3e-7, 3e-4), xlabel="step / batch", ylabel=r"$|D|$ of a losing head")
panels["D"].legend()
figure.savefig("sgd_noise.png")
