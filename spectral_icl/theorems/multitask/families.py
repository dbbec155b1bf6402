"""Problems that are made of a problem's own tasks."""

from __future__ import annotations

from spectral_icl.multitask.problem import Problem, disjoint_home


def repeated(problem: Problem, count: int) -> Problem:
    """So many disjoint tasks, which repeat those of a problem in their order, on blocks in that order.

    Raises
    ------
    ProblemError
        Tasks overlap or span several blocks.
    """
    home = disjoint_home(problem)
    like = [k % problem.tasks for k in range(count)]
    return Problem.multitask(
        task_sizes=[problem.block_sizes[home[k]] for k in like],
        signal=[float(problem.power[k]) for k in like],
        noise=[problem.noise[k] for k in like],
        context_length=problem.context_length,
        covariance=[problem.covariance[home[k]] for k in like],
    )
