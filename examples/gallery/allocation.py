"""
A head for every task?
======================

From starts in which one head leads each task by a margin: the share of runs that end with a head for each,
over margin and scale of the start. For small starts it is one whatever the margin, as the theorem of Chen,
Sheen, Wang and Yang (2024) has it; how small is small is what the picture adds. Asymptotic law; hatched is
where it does not hold, as the start saturates attention.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
side, runs = (3, 2) if os.environ.get("GALLERY") == "small" else (11, 10)
p = si.Problem.multitask(task_sizes=[8] * 6, signal=10.0, noise=10.0, context_length=10000)
margins, scales = np.geomspace(0.01, 3.0, side), np.linspace(0.2, 0.34, side)
starts = [si.initial.dominant(p, 6, s, m, seed=k) for s in scales for m in margins for k in range(runs)]
found = si.gradient_flow_ensemble(p, *zip(*starts, strict=True), t_end=50.0, rtol=1e-6, phases=True)
distinct = np.array([len(set(heads)) == p.tasks and heads.min() >= 0 for heads in found.allocation])
share = distinct.reshape(side, side, runs).mean(axis=2)
share[~found.valid.reshape(side, side, runs).all(axis=2)] = np.nan

figure, axes = plt.subplots(figsize=(4.5, 3.2))
axes.patch.set(hatch="///", edgecolor="0.6")
mesh = axes.pcolormesh(margins, scales, share, cmap="cividis", vmin=0.0, vmax=1.0, shading="nearest")
axes.set(xscale="log", xlabel="margin of the leader", ylabel="scale of the start")
figure.colorbar(mesh, label="share of runs with a head for each task")
figure.savefig("allocation.png")
