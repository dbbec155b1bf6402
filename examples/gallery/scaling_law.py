"""
A thousand emergences
=====================

Excess loss of four heads on tasks of power 10 / i^a from a small start, asymptotic law: sudden falls that add
up to a smooth curve, about t^(1/a - 1) for a > 1. Dashed: predicted from the start alone, a step down when
a head has taken one task more and serves all that it has as well as one head can. Slopes: middle half.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
tasks, end = (12, 2e4) if os.environ.get("GALLERY") == "small" else (1000, 1e6)
t, rest = np.geomspace(500.0, end, 800), {"noise": 0.1, "context_length": 100.0 * tasks}

figure, axes = plt.subplots(figsize=(4.5, 3.1))
for a in (1.0, 1.5):
    power = 10.0 * np.arange(1.0, tasks + 1.0) ** -a
    p = si.Problem.multitask(task_sizes=[10] * tasks, signal=power, **rest)
    start = si.initial.random(p, heads=4, scale=3e-4, positive=True)
    sol = si.gradient_flow(p, *start, t_end=end, t_eval=t, rtol=1e-6)
    predicted, mine, gained = np.full(t.size, power.sum()), [[], [], [], []], [0.0] * 4
    for f in sorted((f for f in sol.forecast if f.time), key=lambda f: f.time):
        mine[f.head].append(power[f.task])
        q = si.Problem.multitask(task_sizes=[10] * len(mine[f.head]), signal=mine[f.head], **rest)
        gain = sum(mine[f.head]) - si.optimal.excess(q, si.optimal.single_head(q).loss)
        predicted[t >= f.time] -= gain - gained[f.head]
        gained[f.head] = gain
    excess = sol.loss - sum(p.noise)
    slope = np.polyfit(*np.log([t, excess])[:, 200:600], 1)[0]
    axes.loglog(t, excess, label=f"$a = {a:g}$, slope {slope:.2f}")
    axes.loglog(t, predicted, "k--", lw=0.7, label="predicted" if a > 1.0 else None)
axes.set(xlabel="gradient-flow time $t$", ylabel="excess loss")
axes.legend()
figure.savefig("scaling_law.png")
