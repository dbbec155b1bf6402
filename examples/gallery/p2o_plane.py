"""
Where preprocessing wins
========================

Its risk over that of the best ridge regression, over the number of pairs and of nonzero weights, by theory
alone: no prompt is drawn. Sparse weights and long prompts are its side of the line; with dense weights
ridge is better. Where Chen, Zhao and Zou (2024) prove an advantage, this is how large it is.
"""

import os

import matplotlib.pyplot as plt

import spectral_icl as si
from spectral_icl.figures.sparse import plane
from spectral_icl.sparse.landscape import phase

plt.style.use("spectral_icl.paper")
d = 4 if os.environ.get("GALLERY") == "small" else 16
found = phase(si.sparse.SparseProblem(d=d, s=d // 8 or 1, n=2 * d, noise=0.25))

figure, axes = plt.subplots(figsize=(4.5, 3.2))
plane(found, axes)
axes.text(0.95, 0.1, "preprocessing wins", color="white", ha="right", transform=axes.transAxes)
axes.text(0.05, 0.9, "ridge wins", transform=axes.transAxes)
axes.set_title(f"$d = {d}$; the line is where both are equal")
figure.savefig("p2o_plane.png")
