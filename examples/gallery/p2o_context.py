"""
Risk against the context length
===============================

Every method at its best, against the number of pairs and of nonzero weights: lines are the theory, points
are simulated. Plain gradient descent and ridge go down as d / n, preprocess-then-optimize comes near the
oracle that knows the support. After the risks of Chen, Zhao and Zou (2024).
"""

import os
from dataclasses import replace

import matplotlib.pyplot as plt

import spectral_icl as si
from spectral_icl.figures.sparse import LOOK, along
from spectral_icl.sparse.landscape import family

plt.style.use("spectral_icl.paper")
small = os.environ.get("GALLERY") == "small"
p = si.sparse.SparseProblem(d=8 if small else 32, s=2, n=16 if small else 64, noise=0.25)

figure, panels = plt.subplots(1, 2, figsize=(6.75, 2.9))
for axes, name, values in zip(
    panels, ("n", "s"), ((p.n // 2, 2 * p.n, 4 * p.n), (1, p.s, 2 * p.s)), strict=True
):
    along(family(p, name), axes)
    for value in values:
        found = si.sparse.simulate(replace(p, **{name: value}), list(LOOK), prompts=100 if small else 400)
        for method, look in LOOK.items():
            axes.errorbar(value, *found.at_best(method), fmt=".", color=look["color"], ms=4)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
figure.savefig("p2o_context.png")
