"""
One head or several
===================

The excess loss of a task against the number of equal tasks: the best single head, a head per task (the
limit of the flow), and what no attention goes below, under the asymptotic law, to which the separation in
Chen, Sheen, Wang and Yang (2024) belongs, and under the first-order law. Crosses: flows.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
counts = (1, 2, 4) if os.environ.get("GALLERY") == "small" else (1, 2, 3, 4, 6, 8, 10)
look = {"single_head": ("one head", "-"), "head_per_task": ("a head per task", "--")}
look |= {"lower_bound": ("lower bound", ":"), "gradient_step": ("one gradient step", "-.")}

figure, panels = plt.subplots(1, 2, figsize=(6.75, 2.8), sharey=True)
for axes, kernel in zip(panels, ("asymptotic", "first-order"), strict=True):
    given = {"signal": 1.0, "noise": 0.1, "context_length": 400}
    problems = [si.Problem.multitask(task_sizes=[10] * n, **given) for n in counts]
    for name, (label, dashes) in look.items():
        find = getattr(si.optimal, name)
        found = [find(p) if name == "gradient_step" else find(p, kernel) for p in problems]
        losses = [b.loss / n - 0.1 for b, n in zip(found, counts, strict=True)]
        axes.plot(counts, losses, ls=dashes, label=label)
    for p in problems:
        omega, mu = si.initial.dominant(p, heads=p.tasks, scale=0.02)
        for heads in (1, p.tasks):
            sol = si.gradient_flow(p, omega[:heads], mu[:heads], t_end=1e5, kernel=kernel)
            axes.plot(p.tasks, sol.final_loss / p.tasks - 0.1, "x", color="black")
    axes.set(yscale="log", xlabel="tasks $I$", title=f"{kernel} law", xticks=np.arange(1, max(counts) + 1))
panels[0].set_ylabel("excess loss of a task")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure.savefig("heads.png")
