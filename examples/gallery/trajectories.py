"""
Trajectories of omega and mu
============================

The KQ and the OV value of every head on every task against time, asymptotic law. The head that leads on a
task takes it and goes to 1 / sqrt(d) and to the best mu there; the others' mu decays. After the
trajectories in Chen, Sheen, Wang and Yang (2024).
"""

import matplotlib.pyplot as plt

import spectral_icl as si

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(task_sizes=(8, 12, 16), signal=(12.0, 10.0, 9.0), noise=0.5, context_length=400)
sol = si.gradient_flow(p, *si.initial.dominant(p, heads=4, scale=0.01, seed=2), t_end=150.0)

figure, panels = plt.subplots(2, p.tasks, figsize=(6.75, 3.6), sharex=True, sharey="row")
for task, (above, below) in enumerate(panels.T):
    si.plots.omega(sol, task, above)
    above.axhline(p.block_sizes[task] ** -0.5, color="0.6", lw=0.8, zorder=0)
    above.set_title(f"task {task}: head {sol.allocation[task]}, $1/\\sqrt{{d}}$ in grey")
    si.plots.mu(sol, task, below)
    below.set_xlabel("gradient-flow time $t$")
panels[0, 0].set_ylabel(r"KQ value $\omega$")
panels[1, 0].set_ylabel(r"OV value $\mu$")
figure.legend(*panels[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure.savefig("trajectories.png")
