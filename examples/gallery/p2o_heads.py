"""
How many heads preprocess
=========================

Left: what is left of the best fit of H heads to the preprocessing of d features, found by search; d heads
are exact and fewer are not. Right: what it costs if H heads share the features in groups, by theory. The
use of many heads in the first layer is the finding of Chen, Zhao and Zou (2024).
"""

import os

import matplotlib.pyplot as plt

import spectral_icl as si

plt.style.use("spectral_icl.paper")
largest = 2 if os.environ.get("GALLERY") == "small" else 4
p = si.sparse.SparseProblem(d=64, s=4, n=128, noise=0.25)

figure, (left, right) = plt.subplots(1, 2, figsize=(6.75, 2.7))
for d, marker in zip(range(1, largest + 1), "so^D", strict=False):
    heads = range(1, d + 2)
    left.plot(
        heads,
        [si.sparse.head_mismatch(H, d, restarts=8, rng=0) for H in heads],
        f"{marker}-",
        label=f"$d = {d}$",
    )
left.set(xlabel="heads $H$", ylabel="least squared mismatch", xticks=range(1, largest + 2))
left.legend()
heads = [2**k for k in range(7)]
risks = [si.sparse.group_heads_risk(p.d, p.s, p.n, p.v, p.noise, H) for H in heads]
right.plot(heads, risks, "o-", label="H heads, a group of features each")
right.axhline(si.sparse.ridge_opt_risk(p.d, p.n, p.v, p.noise).risk, color="0.4", ls="-.", label="ridge")
right.axhline(si.sparse.oracle_risk(p.s, p.n, p.noise), color="0.4", ls=":", label="oracle")
right.set(xscale="log", yscale="log", xlabel="heads $H$", ylabel="excess risk, $d = 64$")
right.legend(loc="lower left", bbox_to_anchor=(0.0, 0.15))
figure.savefig("p2o_heads.png")
