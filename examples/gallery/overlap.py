"""
Tasks that share features
=========================

Two tasks of power 1 put a share of it on a common block. Three heads reach the lower bound at every
overlap; two do so only where the tasks are the same. Flows with an imbalance, of the asymptotic law;
superposition is the setting of He, Pan, Chen and Yang (2025).
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
shares = np.linspace(0.0, 1.0, 3 if os.environ.get("GALLERY") == "small" else 21)
problems = [
    si.Problem(
        block_sizes=(10, 10, 10), signal=((1 - x, x, 0), (0, x, 1 - x)), noise=0.01, context_length=200
    )
    for x in shares
]

figure, axes = plt.subplots(figsize=(4.5, 2.9))
for heads, marker in ((2, "o"), (3, "^")):
    start = si.initial.random(problems[0], heads, scale=0.01, seed=1, positive=True)
    flows = si.gradient_flow_ensemble(problems, *start, parametrization=si.Factored(1e-6, 1e-6), t_end=1e6)
    axes.plot(shares, flows.loss - 0.02, marker, ms=4, mfc="none", label=f"{heads} heads")
bounds = [si.optimal.excess(p, si.optimal.lower_bound(p).loss) for p in problems]
axes.plot(shares, bounds, color="0.3", ls="--", label="lower bound")
axes.set(xlabel="share of the signal on the common block", ylabel="excess loss")
axes.legend()
figure.savefig("overlap.png")
