"""What a law of the context owes the integrators.

A law says what the loss of a state is. Its problems are packed into a NamedTuple of its own, and the type of
that container selects the law: each function here is dispatched by the type of its first argument, in Python
and, once per law and without cost in the loops, when an integrator is compiled. So a law is a module with a
container and these functions under `serves`; nothing else in this room knows which laws there are. The module
belongs to this room: the caches on disk name the containers, and are renewed when the room changes.

Arrays may hold numbers, or lanes of numbers (`spectral_icl.kernels.lanes`): what serves one serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any, NoReturn, TypeVar

from numba.extending import overload

from spectral_icl.kernels.compile import INLINED, MAKING, entry

F = TypeVar("F", bound=Callable[..., Any])


def serves(
    generic: Any,
    container: type,
    *,
    fastmath: frozenset[str] = frozenset(),
    compiled: bool = False,
    makes: bool = False,
) -> Callable[[F], F]:
    """Decorator of the function that is ``generic`` for models of the type ``container``.

    Parameters
    ----------
    generic : callable
        One of the functions below.
    container : type
        The NamedTuple of the law's packed problems.
    fastmath : frozenset of str
        `ALGEBRA`, or nothing.
    compiled : bool
        Whether it is compiled, and kept on disk, also where Python calls ``generic``.
    makes : bool
        Whether it makes or returns arrays, as a `spectral_icl.kernels.compile.maker` does.
    """

    def register(function: F) -> F:
        options = {**(MAKING if makes else INLINED), "fastmath": set(fastmath)}

        @overload(generic, strict=False, jit_options=options)
        def choose(*arguments: Any) -> F | None:
            return function if getattr(arguments[0], "instance_class", None) is container else None

        called = entry(fastmath=fastmath)(function) if compiled else function if makes else _only_compiled
        generic.register(container, called)
        return function

    return register


def _only_compiled(model: object, *_: object) -> NoReturn:
    # what it calls has no way in from Python, and would end the process
    raise NotImplementedError(f"only compiled code calls this function of the law of {type(model).__name__}")


def _missing(model: object) -> NoReturn:
    raise NotImplementedError(f"the law of {type(model).__name__} does not have this function")


# The loss and its derivatives


@singledispatch
def scratch(model, shape):
    """Work arrays of one state, that `gradient` fills and `hessian` goes on from: a NamedTuple of arrays."""
    _missing(model)


@singledispatch
def task_loss(model, omega, mu, work, out):
    """Fill the first I entries of ``out`` with the loss of every task, query noise included."""
    _missing(model)


@singledispatch
def learned(model, omega, mu, head, task):
    """What a head contributes to the map learned for a task, sum_b A_ib kappa_b omega_hb mu_hi; numbers."""
    _missing(model)


@singledispatch
def gradient(model, omega, mu, grad_omega, grad_mu, work):
    """Fill the gradient of the loss, and ``work`` with what `hessian` shares with it."""
    _missing(model)


@singledispatch
def hessian(model, omega, mu, work, out):
    """Fill the upper triangle of the Hessian (N, N) from what `gradient` left in ``work``."""
    _missing(model)


@singledispatch
def linear_room(model, shape):
    """Room for the linear algebra of implicit steps: its type says which one the flows of the law use."""
    _missing(model)


# What the laws of large problems have in place of the Hessian


@singledispatch
def product(model, omega, mu, work, by_omega, by_mu, out_omega, out_mu):
    """Fill the Hessian's product with a direction, from what `gradient` left in ``work``."""
    _missing(model)


@singledispatch
def curvatures(model, omega, mu, work, out_omega, out_mu):
    """Fill the diagonal of the Hessian, made larger where an entry is coupled to its block's more strongly.

    From what `gradient` left in ``work``; leaves there what `within_block` and its like go on from.
    """
    _missing(model)


@singledispatch
def within_block(model, omega, mu, work, block, heads, count, out):
    """Fill the upper triangle of the Hessian of the first ``count`` of some heads' omega of one block."""
    _missing(model)


@singledispatch
def within_task(model, omega, mu, work, task, heads, count, out):
    """Fill the upper triangle of the Hessian of the first ``count`` of some heads' mu of one task."""
    _missing(model)


@singledispatch
def across(model, omega, mu, work, signal, heads, count, others, other_count, out):
    """Fill the Hessian of some heads' omega (rows) and others' mu (columns), block and task of one signal."""
    _missing(model)


@singledispatch
def left_range(model, work):
    """Whether a state is past the law's range, where its loss does not exist. In lanes a mask.

    From what `gradient` left in ``work``; there it fills what is not finite, so that no step ends there.
    """
    _missing(model)


@singledispatch
def lost_meaning(model, work):
    """Whether a state is where the law says nothing any more, though its loss exists. In lanes a mask.

    From what `gradient` left in ``work``. A flow whose steps shrink to rounding there has left the law's
    range: its loss may fall without bound.
    """
    _missing(model)


@singledispatch
def largest_tilt(model, work):
    """The number by which the size of the logits is watched, from what `gradient` left in ``work``.

    Of an ensemble the largest over steps is kept (`Ends.tilt`), and read by
    `spectral_icl.multitask.flow.saturation.saturation_of`. Of the asymptotic law: the largest E_hh.
    """
    _missing(model)


@singledispatch
def adopt(model, mask, old, new):
    """Copy the work arrays ``new`` to ``old`` in the lanes of the mask."""
    _missing(model)


# Models of several flows


@singledispatch
def pick_model(models, p):
    """The model of flow ``p`` among P that are packed together."""
    _missing(models)


@singledispatch
def lane_store(models):
    """Arrays of lanes for the numbers of one model: what `load_model` fills and `lane_model` reads."""
    _missing(models)


@singledispatch
def load_model(store, lane, models, p):
    """Put the model of flow ``p`` into a lane of the arrays."""
    _missing(store)


@singledispatch
def lane_model(store):
    """The arrays as a model whose numbers are lanes."""
    _missing(store)


@singledispatch
def everywhere_model(model):
    """A model whose numbers are lanes, every one of which holds this model."""
    _missing(model)
