"""
How many heads do I tasks need?
===============================

Excess loss over the lower bound of the asymptotic law against the number of heads. Lines: the infimum over
small heads, in closed form. Markers: the least of flows with an imbalance, which go on until they have
found it. I + 1 heads reach the bound; of softmax attention itself it is no bound at finite d (see the page
on the three laws).
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
most, starts = (3, 2) if os.environ.get("GALLERY") == "small" else (5, 4)

figure, axes = plt.subplots(figsize=(4.5, 3.1))
for tasks, marker in zip((1, 2, 4), "o^s", strict=True):
    p = si.Problem.multitask(task_sizes=[10] * tasks, signal=10.0, noise=0.1, context_length=100)
    bound = si.optimal.excess(p, si.optimal.lower_bound(p).loss)
    heads = np.arange(1, most + 2)
    infima = [si.optimal.single_head(p).loss]
    infima += [si.optimal.head_budget(p, H).loss for H in heads[1:].tolist()]
    (line,) = axes.plot(heads, [si.optimal.excess(p, x) / bound for x in infima], "-", lw=0.9)
    for H in heads.tolist():
        drawn = zip(*(si.initial.random(p, H, seed=k, positive=True) for k in range(starts)), strict=True)
        flows = si.gradient_flow_ensemble(p, *drawn, parametrization=si.Factored(1e-6, 1e-6), t_end=1e4)
        least = si.optimal.excess(p, flows.loss.min()) / bound
        axes.plot(H, least, marker, color=line.get_color(), label=f"I = {tasks}" if H == 1 else None)
axes.set(xlabel="heads $H$", ylabel="excess over that of the bound", xticks=heads, yscale="log")
axes.legend()
figure.savefig("head_budget.png")
