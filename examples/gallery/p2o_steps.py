"""
Risk against steps
==================

Preprocess-then-optimize beside plain gradient descent, after every step (a layer of the transformer each,
step size 1 over the largest eigenvalue), simulated; and against the time of their flows, where the lines
are the theory. The comparison of Chen, Zhao and Zou (2024).
"""

import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si
from spectral_icl.figures.sparse import along_time
from spectral_icl.sparse.tuning import Tuning

plt.style.use("spectral_icl.paper")
prompts = 50 if os.environ.get("GALLERY") == "small" else 1000
p = si.sparse.SparseProblem(d=64, s=4, n=128, noise=0.25)
steps = np.arange(1, 33)
found = si.sparse.simulate(p, ["p2o_steps", "gd_steps"], prompts, tuning=replace(Tuning.of(p), steps=steps))

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.9))
for method, marker, label in (("p2o_steps", "o-", "P2O"), ("gd_steps", "s--", "gradient descent")):
    left.errorbar(steps, found.mean(method), found.se(method), fmt=marker, ms=2.5, label=label)
left.axhline(si.sparse.ridge_opt_risk(p.d, p.n, p.v, p.noise).risk, color="0.4", ls="-.", label="ridge")
left.axhline(si.sparse.oracle_risk(p.s, p.n, p.noise), color="0.4", ls=":", label="oracle")
left.set(yscale="log", xlabel="steps", ylabel="excess risk")
left.set_ylim(5e-3, 2.0)
left.legend(loc="upper right", ncols=2)
along_time(si.sparse.compare(si.sparse.Study(p, prompts=prompts, draws=64)), right)
figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=5)
figure.savefig("p2o_steps.png")
