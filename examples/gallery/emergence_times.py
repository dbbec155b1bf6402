"""
When each of many tasks emerges
===============================

Four heads learn tasks of power 10 / i from a small start, and take more than a hundred each, asymptotic law.
Left: the time at which each task emerges, measured on the flow against predicted from the start alone, in the
colour of its head. Right: how far off the prediction is, at most half a percent.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
tasks, end = (12, 2e4) if os.environ.get("GALLERY") == "small" else (500, 1e6)
p = si.Problem.multitask(
    task_sizes=[10] * tasks,
    signal=10.0 / np.arange(1.0, tasks + 1.0),
    noise=0.1,
    context_length=100.0 * tasks,
)
start = si.initial.random(p, heads=4, scale=3e-4, seed=1, positive=True)
sol = si.gradient_flow(p, *start, t_end=end, rtol=1e-6, dense_output=False)
pairs = zip(sol.phases.tasks, sol.forecast, strict=True)
rows = [(task.head, task.time, told.time) for task, told in pairs if told.time and task.time > 0.0]
head, measured, predicted = np.array(rows).T

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.9))
left.loglog([measured.min(), end], [measured.min(), end], color="0.6", lw=0.8)
for h in range(4):
    mine = head == h
    left.loglog(predicted[mine], measured[mine], ".", ms=4, label=f"head {h}: {mine.sum()} tasks")
    right.semilogx(measured[mine], 100.0 * (predicted[mine] / measured[mine] - 1.0), ".", ms=4)
left.set(xlabel="predicted time", ylabel="measured time")
left.legend()
right.set(xlabel="measured time", ylabel="error of the prediction, %")
figure.savefig("emergence_times.png")
