"""
The loss and its phases
=======================

Warm-up, emergence and convergence of a flow of the asymptotic law, as they are measured; the times that
the theory predicts from the start alone are ticks at the top. Three tasks of unequal size and noise
emerge one after the other. After the loss curves of Chen, Sheen, Wang and Yang (2024).
"""

import matplotlib.pyplot as plt

import spectral_icl as si

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(
    task_sizes=(8, 12, 16), signal=(12.0, 10.0, 9.0), noise=(0.2, 0.5, 1.0), context_length=400
)
sol = si.gradient_flow(p, *si.initial.dominant(p, heads=3, scale=0.01), t_end=400.0)

figure, axes = plt.subplots(figsize=(6.75, 3.0))
si.plots.loss(sol, axes)
for predicted in sol.forecast:
    axes.axvline(predicted.time, ymin=0.94, color="black")
figure.savefig("phases.png")
