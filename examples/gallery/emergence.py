"""
When a task emerges
===================

Times of emergence under the asymptotic law, measured on flows against predicted, for random positive
starts and problems of two tasks drawn at random. Left: predicted from the start alone, by the race of all
heads. Right: the relative error against the size of the start; what the warm-up leaves out takes a time
that does not grow as the start shrinks.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
rng = np.random.default_rng(1)
rows = []
for k in range(8 if os.environ.get("GALLERY") == "small" else 120):
    sizes, powers = rng.integers(3, 20, 2), rng.uniform(0.5, 5.0, 2)
    p = si.Problem.multitask(task_sizes=sizes, signal=powers, noise=0.1, context_length=rng.uniform(50, 2000))
    scale = 10.0 ** rng.uniform(-3.5, -1.5)
    sol = si.gradient_flow(p, *si.initial.random(p, heads=3, scale=scale, seed=k, positive=True), t_end=1e5)
    pairs = zip(sol.phases.tasks, sol.forecast, strict=True)
    rows += [(scale, task.time, told.time) for task, told in pairs if told.time and task.time > 0.0]
scale, measured, predicted = np.array(rows).T

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.8))
ends = [measured.min(), measured.max()]
left.loglog(ends, ends, color="0.6", lw=0.8)
left.loglog(predicted, measured, ".", ms=3)
left.set(xlabel="predicted time", ylabel="measured time")
right.loglog(scale, np.abs(predicted / measured - 1.0) + 1e-9, ".", ms=3)
right.set(xlabel="scale of the start", ylabel="relative error of the time")
figure.savefig("emergence.png")
