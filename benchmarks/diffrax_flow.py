"""Balanced flows by diffrax's Kvaerno5: float64, compiled, batched with vmap, one thread.

Import it only where it is used: JAX is optional (`pip install diffrax`), and it takes its number of threads
from the environment and from the cores that the importing thread may run on.
"""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix

from benchmarks.rivals import Floats, Shape
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.model import Chart

jax.config.update("jax_enable_x64", True)

_MAX_STEPS = 100_000


def field(model: Asymptotic, chart: Chart, shape: Shape) -> Callable[..., jax.Array]:
    """dx/dt of one flow in balanced dual coordinates, as diffrax wants it: of (t, x, args)."""
    heads, blocks, tasks = shape
    kappa, weight, signal, variance = (
        jnp.asarray(values) for values in (model.kappa, model.weight, model.signal, model.variance)
    )
    sign, rate = jnp.asarray(chart.sign), jnp.asarray(-chart.speed * chart.sign)

    def slope(t: object, x: jax.Array, args: object) -> jax.Array:
        theta = sign * jnp.exp(x)
        omega, mu = (
            theta[: heads * blocks].reshape(heads, blocks),
            theta[heads * blocks :].reshape(heads, tasks),
        )
        tilt = jnp.exp((omega * weight) @ omega.T)
        pull = kappa * signal * (1.0 - kappa * (mu.T @ omega))
        noise_omega = weight * ((tilt * ((mu * variance) @ mu.T)) @ omega)
        noise_mu = variance * (tilt @ mu)
        by_omega = model.inverse_length * noise_omega - mu @ pull
        by_mu = model.inverse_length * noise_mu - omega @ pull.T
        return rate * 2.0 * jnp.concatenate([by_omega.ravel(), by_mu.ravel()])

    return slope


def solver(
    model: Asymptotic, chart: Chart, shape: Shape, t_end: float, batch: int, newton: bool
) -> Callable[[Floats, float, float, float], Floats]:
    """A function of (starts (P, N), tolerance, pcoeff, icoeff) that returns the states at ``t_end`` (P, N).

    ``batch`` must divide P. The nonlinear systems are solved by Newton's method if ``newton``, else by
    diffrax's default, the chord method with the Jacobian of the stage's start. atol = rtol; NaN marks flows
    that did not reach the end. Everything that changes from call to call is an argument: nothing recompiles.
    """
    term = diffrax.ODETerm(field(model, chart, shape))

    def one(x: jax.Array, tolerance: float, pcoeff: float, icoeff: float) -> jax.Array:
        method = (
            diffrax.Kvaerno5(root_finder=optimistix.Newton(tolerance, tolerance))
            if newton
            else diffrax.Kvaerno5()
        )
        solution = diffrax.diffeqsolve(
            term,
            method,
            t0=0.0,
            t1=t_end,
            dt0=None,
            y0=x,
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=diffrax.PIDController(
                rtol=tolerance, atol=tolerance, pcoeff=pcoeff, icoeff=icoeff
            ),
            max_steps=_MAX_STEPS,
            throw=False,
        )
        return jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys[0], jnp.nan)

    compiled = jax.jit(jax.vmap(one, in_axes=(0, None, None, None)))

    def solve(starts: Floats, tolerance: float, pcoeff: float, icoeff: float) -> Floats:
        parts = [
            np.asarray(compiled(part, tolerance, pcoeff, icoeff))
            for part in np.split(starts, len(starts) // batch)
        ]
        return np.concatenate(parts)

    return solve


def versions() -> str:
    """What did the work."""
    return f"diffrax {diffrax.__version__}, jax {jax.__version__}"
