"""
One head for many tasks
=======================

The excess loss of the best single head over that of a head per task, in closed form, asymptotic law. Left:
equal tasks. Effective dimensions e d and e d_i make it I (1 + g) / (I + g) with g = L / (e phi d_i) (lines),
I for long prompts, at most 1 + g. Right: powers 10 / i^a at L = 1e5, of which a head leaves out weak ones.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

import spectral_icl as si

plt.style.use("spectral_icl.paper")
BOTH = (si.optimal.single_head, si.optimal.head_per_task)
counts = np.unique(np.geomspace(2, 1000, 4 if os.environ.get("GALLERY") == "small" else 16).astype(int))


def factor(power, length):
    p = si.Problem.multitask(task_sizes=[10] * power.size, signal=power, noise=0.1, context_length=length)
    return np.divide(*(si.optimal.excess(p, f(p).loss) for f in BOTH))


figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.9), sharex=True, sharey=True)
for k, marker in zip((3, 4, 5, 6), "o^sv", strict=True):
    g = 10.0**k / (np.e * 1.01 * 10)
    (line,) = left.loglog(counts, counts * (1 + g) / (counts + g), "-", lw=0.9)
    found = [factor(np.full(n, 10.0), 10.0**k) for n in counts]
    left.plot(counts, found, marker, color=line.get_color(), ms=3.5, label=f"$L = 10^{k}$")
for a, marker in zip((0.0, 0.5, 1.0, 1.5, 2.0), "o^svD", strict=True):
    found = [factor(10.0 * np.arange(1.0, n + 1.0) ** -a, 1e5) for n in counts]
    right.plot(counts, found, f"{marker}-", lw=0.9, ms=3.5, label=f"$a = {a:g}$")
left.set(xlabel="tasks $I$", ylabel="excess of one head over a head each", title="equal tasks; closed form")
right.set(xlabel="tasks $I$", title="power $10 / i^a$, $L = 10^5$")
left.legend()
right.legend()
figure.savefig("separation.png")
