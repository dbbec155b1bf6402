"""
Prompts of another length
=========================

Weights trained at one length and tested at others, beside weights trained at the length of the test. What
is learned carries over, but the shrinkage that suits L stays: longer prompts help only down to a floor.
Lines are the asymptotic law, crosses the same weights in softmax attention itself (the exact law). The
length generalisation of Chen, Sheen, Wang and Yang (2024).
"""

import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
tested = np.geomspace(20, 20000, 5 if os.environ.get("GALLERY") == "small" else 25)
p = si.Problem.multitask(task_sizes=(10,), signal=1.0, noise=0.1, context_length=100)

figure, axes = plt.subplots(figsize=(4.5, 3.0))
for length, look, size in ((100, "x-", 5), (1000, "+--", 7)):
    at = replace(p, context_length=length)
    weights = si.optimal.head_per_task(at).weights
    losses = [si.loss(replace(p, context_length=x), *weights) - 0.1 for x in tested]
    exact = [si.loss(replace(p, context_length=x), *weights, "exact") - 0.1 for x in tested[::3]]
    (line,) = axes.plot(tested, losses, look[1:], label=f"trained at {length}")
    axes.plot(tested[::3], exact, look[0], ms=size, color=line.get_color(), label="the same, exact law")
    axes.plot(length, si.loss(at, *weights) - 0.1, "o", color=line.get_color())
retrained = [
    si.optimal.excess(p, si.optimal.head_per_task(replace(p, context_length=x)).loss) for x in tested
]
axes.plot(tested, retrained, color="0.4", ls="-.", label="trained at the length of the test")
axes.set(xscale="log", yscale="log", xlabel="context length of the test", ylabel="excess loss")
axes.legend()
figure.savefig("length_generalisation.png")
