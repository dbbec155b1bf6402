"""
One flow, three laws
====================

The same start under the asymptotic, the first-order and the exact law of the context: when the task emerges
they agree, on where it comes to rest they do not, and short blocks are where they differ most. Left: ten
features a task, right: three. The exact law is softmax attention itself.
"""

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
laws = {"asymptotic": "--", "first-order": "-.", "exact": "-"}
figure, panels = plt.subplots(2, 2, figsize=(6.75, 3.8), sharex="col")
for (above, below), size in zip(panels.T, (10, 3), strict=True):
    p = si.Problem.multitask(task_sizes=(size, size), signal=1.0, noise=0.1, context_length=200)
    start = si.initial.dominant(p, heads=2, scale=0.02)
    end = 4.0 * si.gradient_flow(p, *start, t_end=2000.0).phases.tasks[0].time
    t = np.linspace(0.0, end, 300)
    for kernel, dashes in laws.items():
        sol = si.gradient_flow(p, *start, t_end=end, t_eval=t, kernel=kernel)
        above.plot(t, sol.loss - 0.2, ls=dashes, label=f"{kernel} law")
        below.plot(t, sol.mu[:, 0, 0], ls=dashes)
    above.set_yscale("log")
    above.set_title(f"$d = {size}$ a task, $L = 200$")
    below.set_xlabel("gradient-flow time $t$")
panels[0, 0].set_ylabel("excess loss")
panels[1, 0].set_ylabel(r"$\mu$ of the winner")
panels[0, 0].legend()
figure.savefig("three_laws.png")
