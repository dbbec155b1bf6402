"""
The loss against the context length
===================================

Two tasks of ten features: what a head per task reaches under each law, and what is exact at any length:
small heads, one gradient step, ridge regression with the true prior. Below: the asymptotic and the
first-order law over the exact one, at the weights that each takes for the best. After the losses against L
of Chen, Sheen, Wang and Yang (2024).
"""

import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
lengths = np.round(np.geomspace(30, 3000, 3 if os.environ.get("GALLERY") == "small" else 9))
p = si.Problem.multitask(task_sizes=(10, 10), signal=1.0, noise=0.1, context_length=100)
problems = [replace(p, context_length=length) for length in lengths]

figure, (axes, below) = plt.subplots(2, 1, figsize=(4.5, 4.6), sharex=True, height_ratios=(2, 1))
for find, look in ((si.optimal.small_heads, ":"), (si.optimal.gradient_step, "-."), (si.optimal.bayes, "v-")):
    found = [find(q) for q in problems]
    losses = [si.optimal.excess(q, b.loss) for q, b in zip(problems, found, strict=True)]
    axes.plot(lengths, losses, look, color="0.4", ms=3, label=found[0].name)
laws, excess = {"asymptotic": "--", "first-order": "-.", "exact": "-"}, {}
for kernel, dashes in laws.items():
    best = [si.optimal.head_per_task(q, kernel).loss for q in problems]
    excess[kernel] = np.array([si.optimal.excess(q, loss) for q, loss in zip(problems, best, strict=True)])
    axes.plot(lengths, excess[kernel], ls=dashes, label=f"a head per task, {kernel}")
for kernel, dashes in laws.items():
    below.plot(lengths, excess[kernel] / excess["exact"], ls=dashes)
axes.set(xscale="log", yscale="log", ylabel="excess loss")
axes.legend(loc="lower left")
below.set(xlabel="context length $L$", ylabel="law / exact")
figure.savefig("context_length.png")
