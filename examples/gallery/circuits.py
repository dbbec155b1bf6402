"""
Heat maps of the circuits
=========================

The two circuits of every head as attention has them: W = c K^T Q on the covariates (KQ) and U = O V on the
tasks (OV), at the start, halfway through the emergences, and in the limit, under the asymptotic law. Both
stay diagonal, and each head ends with one block and one task. After the heat maps of Chen, Sheen, Wang and
Yang (2024).
"""

import matplotlib.pyplot as plt

import spectral_icl as si
from spectral_icl.multitask.softmax import decomposable

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(task_sizes=(4, 6, 5), signal=(4.0, 6.0, 5.0), noise=0.1, context_length=500)
sol = si.gradient_flow(p, *si.initial.dominant(p, heads=3, scale=0.02), t_end=2000.0)
emergences = sorted(task.time for task in sol.phases.tasks)
times = {"start": 0.0, "emergence": emergences[1], "limit": 2000.0}

figure, panels = plt.subplots(3, 6, figsize=(6.75, 3.4))
matrices = {name: decomposable(p, sol(t)) for name, t in times.items()}
for k, circuit in enumerate((r"KQ: $W$", r"OV: $U$")):
    most = matrices["limit"][k].max()
    for j, (name, t) in enumerate(times.items()):
        column = panels[:, 3 * k + j]
        column[0].set_title(f"{circuit}, {name}\n$t = {t:.4g}$")
        for axes, matrix in zip(column, matrices[name][k], strict=True):
            image = axes.imshow(matrix, cmap="cividis", vmin=0.0, vmax=most)
            axes.set_xticks([])
            axes.set_yticks([])
    figure.colorbar(image, ax=panels[:, 3 * k : 3 * k + 3], location="bottom", aspect=40, shrink=0.8)
for head, axes in enumerate(panels[:, 0]):
    axes.set_ylabel(f"head {head}")
figure.savefig("circuits.png")
