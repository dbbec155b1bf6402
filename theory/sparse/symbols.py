"""The symbols of sparse regression; a trailing underscore marks matrices of any size, and indices."""

from __future__ import annotations

import sympy as sp

REFERENCE = "Sparse linear regression in context by multi-head linear attention: Chen, Zhao and Zou (2024)."

n = sp.Symbol("n", positive=True)  # pairs of a prompt
v = sp.Symbol("v", positive=True)  # signal power |w|^2
s = sp.Symbol("s", positive=True)  # size of the support
ell = sp.Symbol("l", positive=True)  # eigenvalue of the sample covariance
z = sp.Symbol("z", positive=True)  # eigenvalue of the preprocessed sample covariance
eta = sp.Symbol("eta", positive=True)  # step size
T = sp.Symbol("T", positive=True)  # time of the gradient flow
h = sp.Symbol("h", real=True)  # spectral filter at an eigenvalue
lam = sp.Symbol("lambda", positive=True)  # ridge penalty
noise = sp.Symbol("sigma", positive=True) ** 2  # label noise
tau = sp.Symbol("tau", positive=True)  # standard deviation of a label
mean = sp.Function("mean")
i_, j_, k_ = sp.symbols("i j k", integer=True)  # token, coordinate, pair

PAIRS, SIZE, ROWS = sp.symbols("n d D", integer=True, positive=True)  # pairs, coordinates, rows of the tokens
X_, Y_ = sp.MatrixSymbol("X", PAIRS, SIZE), sp.MatrixSymbol("y", PAIRS, 1)  # covariates and labels
S_ = sp.MatrixSymbol("S", SIZE, SIZE)  # sample covariance X^T X / n
r_ = sp.MatrixSymbol("r", SIZE, 1)  # correlations X^T y / n
R_ = sp.MatrixSymbol("R", SIZE, SIZE)  # diagonal matrix of r
M_ = sp.MatrixSymbol("M", SIZE, SIZE)  # preprocessed sample covariance R S R
u_, beta_ = sp.MatrixSymbol("u", SIZE, 1), sp.MatrixSymbol("beta", SIZE, 1)  # weights of features, covariates
