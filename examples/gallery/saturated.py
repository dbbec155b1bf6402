"""
A start that saturates attention
================================

A head that starts with a logit variance of log L attends to few pairs of the context. No series in 1/L
describes it; the exact law does. It recovers, whatever the sign of its mu, and ends as the best single
head. The line is log(L) / 2, from which on the laws in 1/L are called invalid.
"""

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
p = si.Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
best = si.optimal.single_head(p, "exact")

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.7))
for mu, dashes in ((0.6, "-"), (-0.6, "--")):
    t = np.geomspace(0.01, 400.0, 200)
    sol = si.gradient_flow(
        p, [[0.85]], [[mu]], parametrization=si.Merged(), t_end=400.0, t_eval=t, kernel="exact"
    )
    left.plot(t, 5 * sol.omega[:, 0, 0] ** 2, ls=dashes, label=rf"$\mu = {mu}$ at the start")
    right.plot(t, sol.loss, ls=dashes)
left.axhline(0.5 * np.log(40), color="0.5", lw=0.8)
left.set(xscale="log", yscale="log", xlabel="time $t$", ylabel=r"logit variance $d\,\omega^2$")
left.legend()
right.axhline(best.loss, color="0.5", lw=0.8, ls=":", label="best single head")
right.set(xscale="log", xlabel="time $t$", ylabel="loss, exact law")
right.legend()
figure.savefig("saturated.png")
