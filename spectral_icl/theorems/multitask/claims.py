"""The claims about the flow of softmax attention, in the order in which the theory makes them.

Each is a function from `Evidence` to a `Trial`: how it is measured, what it needs and what it supposes. The
registry `CLAIMS` has them by name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.checks import LARGEST, Floats
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.io.text import listed
from spectral_icl.multitask import softmax
from spectral_icl.multitask.accuracy import excess_errors, second_order, terms
from spectral_icl.multitask.context import DEFAULT, EXACT, check_kernel
from spectral_icl.multitask.flow.emergence import size_of_start
from spectral_icl.multitask.flow.escape import Escape, fall, settled
from spectral_icl.multitask.flow.forecast import BALANCED
from spectral_icl.multitask.loss import gradient_at, losses_at
from spectral_icl.multitask.optimal.benchmarks import Optimum, head_budget, minimise, rank, single_head
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import SIGMAS, Claims, Finding, Trial, Trials, UnmeasurableError
from spectral_icl.theorems.multitask.evidence import Evidence

RESOLVED = 1e-5  # what the end of a flow resolves of a loss, and of a ratio of losses
ROUNDING = 1e-11  # relative to the loss, below which a difference means nothing
RISE = 10.0  # relative rise of the loss that the integration may cause, over rtol
PATH = 1e4  # agreement of the flow with that of k, q, o and v through the steepest fall, over rtol
LIMIT = 1e-6  # relative distance of the excess from the limit
LEARNED = 1e-3  # share of the signal that has to be learned in the limit for it to be told from zero weights
SEARCHED = 1e-8  # relative to the loss, to which a numerical search is trusted
EMERGENCE = 0.05  # relative error of the predicted emergence time,
START = 0.05  # for starts up to this size
ESCAPE = 0.10  # relative error of the predicted escape time,
SETTLING = 0.05  # part of that time that it costs if the rate of the fall settles late,
RIVAL, CROWD = 0.03, 4  # for rivals with kappa sqrt(d) omega up to this, among so many heads
BUDGET = 1e-3  # relative distance of attainable losses from the bound
INFIMUM = 1e-6  # relative error of an infimum found numerically
UNTOLD = 0.5  # estimated relative error of a law's excess from which nothing is claimed of it
SAMPLED = 0.05  # relative error of the excess beyond the estimated one that a sample has to rule out
SHARED = 0.01  # share of a task's power in a block that counts as having the block
LENGTHS = 4.0  # test length over training length
_MOMENTS = 65  # of a wait, at which a rate is looked at
FALSE_ALARM = 1e-6  # chance that sampled zeros look like something else

CSWY = "Chen, Sheen, Wang and Yang (2024)"
HPCY = "He, Pan, Chen and Yang (2025)"

CLAIMS: Claims[Evidence, Problem] = Claims()
claim = CLAIMS.claim


@claim(
    "decomposability-preserved",
    "At decomposable weights the full model's gradient is decomposable: every off-diagonal entry vanishes.",
    CSWY,
)
def _decomposability(e: Evidence) -> Trials:
    def measure() -> Finding:
        # While a task is learned the gradient is large, so that entries that should vanish are seen if not.
        times = [task.time for task in e.flow.phases.tasks if np.isfinite(task.time)]
        at = e.near(min(times)) if times else e.flow.final
        prompts = softmax.affordable(e.problem, e.prompts)
        by_kq, by_ov = softmax.gradient(e.problem, *softmax.decomposable(e.problem, at), prompts, e.seed)
        scores = np.concatenate([_off_diagonal(sample) for sample in (by_kq, by_ov)])
        if not scores.size:
            raise UnmeasurableError("all off-diagonal entries are zero, or too small to square")
        from scipy.special import ndtri  # slow to import, and only needed here

        most = float(-ndtri(0.5 * FALSE_ALARM / scores.size))
        worst = float(np.abs(scores).max())
        what = f"largest |z| of {scores.size} entries, rms {_rms(scores):.2f}, {prompts} prompts"
        return Finding.below(worst, most, what)

    entries = e.heads * (e.problem.dimension**2 + e.problem.tasks**2)
    few = entries <= 10**6 and max(e.problem.dimension, e.problem.tasks) > 1
    entries_too = Hypothesis("matrices have off-diagonal entries, at most a million", few)
    yield Trial(measure, needs=[_sampled(e), entries_too, e.learns])


@claim("monotone-loss", "The loss never increases along the flow.", "gradient flow")
def _monotone(e: Evidence) -> Trials:
    def measure() -> Finding:
        losses = e.losses
        left = losses - float(np.sum(e.problem.noise))
        rounded = ROUNDING * losses[:-1] / left[:-1]
        rise = float((np.diff(losses) / left[:-1] - rounded).max(initial=0.0))
        if not (left > 0.0).all():
            raise UnmeasurableError("the loss is all query noise, or below it")
        return Finding.zero(
            rise, RISE * e.rtol, "largest rise of the excess between two times, over the excess"
        )

    yield Trial(measure, needs=[e.learns])


@claim("sign-conservation", "Balanced weights keep the sign of every omega and mu.", f"{CSWY}; mirror flow")
def _signs(e: Evidence) -> Trials:
    def measure() -> Finding:
        flips = e.factors.flips if e.trained_factors else 0
        for start, path in zip(e.start, e.flow(e.times), strict=True):
            # an entry that reaches 0 from elsewhere has underflowed, not crossed
            crossed = (path * np.sign(start) < 0.0) | ((start == 0.0) & (path != 0.0))
            flips += int(crossed.any(axis=0).sum())
        what = "entries that changed sign, in the flow or in k, q, o, v integrated apart"
        return Finding.count(flips, 0, what)

    yield Trial(measure, needs=[e.learns], supposes=[e.balanced, e.solved])


@claim(
    "imbalance-conservation",
    "k^2 - q^2 and v^2 - o^2 are conserved, so that the flow closes in omega = c k q and mu = o v.",
    "mirror flow of the factored weights",
)
def _imbalance(e: Evidence) -> Trials:
    def measure() -> Finding:
        found = e.factors
        bar = PATH * e.rtol
        what = f"relative drift {found.drift:.1e}, distance of paths {found.distance:.1e}, below {bar:g}"
        worst = max(found.drift, found.distance)
        return Finding.zero(worst, bar, what)

    yield Trial(measure, needs=[e.trained_factors, e.learns], supposes=[e.solved])


@claim(
    "convergence-to-limit",
    "From a small dominated start the balanced flow converges to the head-per-task limit.",
    f"{CSWY}, convergence",
)
def _convergence(e: Evidence) -> Trials:
    def measure() -> Finding:
        final, limit = (float(e.reducible(x).sum()) for x in (e.flow.final_task_loss, e.limit.task_loss))
        if not limit > RESOLVED * float(e.powers.sum()):
            raise UnmeasurableError("the limit's excess is too small for the flow's tolerance of rest")
        if not limit > RESOLVED * float(e.problem.variance.sum()):
            raise UnmeasurableError("the limit's excess is lost in the query noise")
        what = f"excess at rest against the limit's, within {LIMIT:g}"
        return Finding.agreement(final, limit, LIMIT, what)

    limit = e.limit.task_loss.sum() - np.sum(e.problem.noise) if e.disjoint and e.enough_heads else 0.0
    learned = e.beyond_zero(bool(limit >= (1.0 - LEARNED) * e.powers.sum()))
    yield Trial(measure, needs=[e.disjoint, e.enough_heads], supposes=[*e.theorem, e.rests, learned])


@claim(
    "task-allocation",
    "Every task is seized by one head, the one that dominates it at the start.",
    f"{CSWY}, task allocation",
)
def _allocation(e: Evidence) -> Trials:
    def measure() -> Finding:
        # where the flow rests: the winner of a close race may not be known yet on the plateau
        held = e.flow.shares
        emerged = [task.head is not None for task in e.flow.phases.tasks]
        allocation = tuple(int(held[:, i].argmax()) if emerged[i] else None for i in range(e.problem.tasks))
        heads = e.leaders
        predicted = [task.predicted_head for task in e.flow.phases.tasks]
        right = sum(
            head is not None and head == leader and expected in (None, head)
            for head, leader, expected in zip(allocation, heads, predicted, strict=True)
        )
        what = f"tasks whose winner is as predicted: heads {_listed(allocation)}, dominant {_listed(heads)}"
        return Finding.count(right, e.problem.tasks, what)

    yield Trial(measure, needs=[e.disjoint], supposes=[e.enough_heads, *e.theorem, e.rests])


@claim(
    "three-phases",
    "Warm-up, emergence and convergence follow each other, and every task emerges at the predicted time.",
    f"{CSWY}; emergence time of the warm-up race",
)
def _phases(e: Evidence) -> Trials:
    phases, forecast = e.flow.phases, e.flow.forecast
    predicted = [task.time for task in forecast if task.time is not None]

    def measure() -> Finding:
        what = "emergence time of task {}, the worst predicted, within {:.0%}"
        pairs = [(_seen(e, task.time), time) for task, time in zip(phases.tasks, predicted, strict=True)]
        found = [Finding.agreement(*x, EMERGENCE, what.format(k, EMERGENCE)) for k, x in enumerate(pairs)]
        worst = min(found, key=lambda finding: finding.margin)
        if any(task.head is None for task in phases.tasks):
            return worst.refuted(f"not every task has emerged by t = {e.end:g}")
        if not phases.warm_up[1] <= phases.emergence[1] <= phases.convergence[1]:
            return worst.refuted("the phases are out of order")
        return worst

    needs = [e.disjoint, Hypothesis("every emergence is predicted", len(predicted) == e.problem.tasks)]
    size = size_of_start(e.problem, e.start, e.flow.key_scale) if e.disjoint else np.inf
    small = Hypothesis(f"the start is small, of size at most {START:g}", size <= START)
    supposes = [e.balanced, e.dominated, small, e.long_enough(max(predicted, default=0.0))]
    yield Trial(measure, needs, supposes)


@claim(
    "optimality",
    "The limit's excess is above the lower bound on all decomposable attention, by less than a "
    "factor e under the asymptotic law.",
    f"{CSWY}, optimality; the bound by Schur's product theorem",
)
def _optimality(e: Evidence) -> Trials:
    def measure() -> Finding:
        bound = e.reducible(e.bound.task_loss)
        ratio = e.reducible(e.flow.final_task_loss) / bound
        task = int(ratio.argmax())
        predicted = float(e.reducible(e.limit.task_loss)[task] / bound[task])
        if not e.of_paper:
            # no constant bounds it at fixed d: what becomes of it is the law's own ratio
            what = (
                f"worst task, excess over bound, within {LIMIT:g}; e bounds it under the {DEFAULT} law only"
            )
            found = Finding.agreement(float(ratio[task]), predicted, LIMIT, what)
            return found if ratio.min() > 1.0 else found.refuted("a task is below the bound")
        if not np.e - predicted > RESOLVED:
            raise UnmeasurableError("the ratio is e, to the accuracy of the flow")
        return Finding.inside(ratio, task, predicted, 1.0, np.e, "worst task, excess over bound, in (1, e)")

    supposes = [*e.theorem, e.rests]
    if e.disjoint:
        bound = e.bound.task_loss - np.asarray(e.problem.noise)
        supposes.append(e.beyond_zero(bool((e.powers < np.e * bound).any())))
    yield Trial(measure, needs=[e.disjoint, e.enough_heads], supposes=supposes)


@claim(
    "single-vs-multi",
    "With two tasks or more, a head for each is strictly better than the best single head.",
    f"{CSWY}, separation",
)
def _separation(e: Evidence) -> Trials:
    def measure() -> Finding:
        single = single_head(e.problem, e.kernel)
        multi, one = (float(e.reducible(b.task_loss).sum()) for b in (e.limit, single))
        if not abs(one - multi) > (ROUNDING if e.of_paper else SEARCHED) * single.loss:
            raise UnmeasurableError("the two losses agree to rounding")
        return Finding.below(multi, one, "excess of a head per task, below that of one head")

    several = Hypothesis("there are two tasks or more", e.problem.tasks > 1)
    yield Trial(measure, needs=[several], supposes=[e.disjoint])


@claim(
    "head-budget",
    "H > I heads reach the lower bound, as an infimum; H <= I reach X_i = d_i / p_i, sum_i p_i = H - 1. "
    "To order 1/L under the first-order law.",
    f"{HPCY} for one task; derived for several",
)
def _budget(e: Evidence) -> Trials:
    noise = float(np.sum(e.problem.noise))
    small = head_budget(e.problem, e.heads, e.kernel).loss if e.heads > 1 else np.nan

    def measure() -> Finding:
        best, bound = e.best, float(e.reducible(e.bound.task_loss).sum())
        found, infimum = best.loss - noise, best.infimum - noise
        if best.infimum == e.bound.loss:
            what = f"excess of {e.heads} heads against the lower bound, within {BUDGET:g}"
            finding = Finding.agreement(found, bound, BUDGET, what)
            return finding if best.loss >= e.bound.loss else finding.refuted(what)
        if e.heads == 1:
            predicted = single_head(e.problem, e.kernel).loss - noise
            what = f"excess of the numerical optimum against the best single head's, within {INFIMUM:g}"
        elif e.of_paper:
            predicted = small - noise
            what = f"infimum of the excess of {e.heads} heads against that of small heads, within {INFIMUM:g}"
        else:
            # finite heads may gain on small ones what the bound leaves out, of order 1/L^2
            order = abs(head_budget(e.problem, e.heads).loss - small) + bound / e.problem.context_length
            least, most = bound - order, small - noise + order
            what = f"infimum of the excess of {e.heads} heads, from the bound to small heads, to order 1/L"
            return Finding.between(infimum, least, most, what)
        return Finding.agreement(infimum, predicted, INFIMUM, what)

    supposes = [e.disjoint]
    if e.disjoint:
        least = e.bound.loss - noise
        supposes.append(e.beyond_zero(bool(e.powers.sum() < (1.0 + 10.0 * BUDGET) * least)))
    if not e.of_paper:
        supposes.append(e.long_prompts)
    yield Trial(measure, supposes=supposes)


@claim(
    "escape-rate",
    "With an imbalance the limit is a saddle: a losing head changes sign and the plateau is left, on time.",
    "derived from the mirror flow",
)
def _escape(e: Evidence) -> Trials:
    escapes = [escape for escape in e.flow.phases.escapes if escape.predicted_time is not None]
    predicted = min((float(escape.predicted_time or 0.0) for escape in escapes), default=0.0)

    def measure() -> Finding:
        first = min(escapes, key=lambda escape: _seen(e, escape.time))
        what = f"escape time of task {first.task} through head {first.head}, within {ESCAPE:.0%}"
        found = Finding.agreement(_seen(e, first.time), predicted, ESCAPE, what)
        left = np.isfinite(first.time)
        return found if left else found.refuted(f"the plateau is not left by t = {e.end:g}")

    imbalance = e.parametrization.imbalance("mu")
    needs = [e.disjoint, Hypothesis("the imbalance is positive", bool(imbalance.min() > 0.0))]
    needs += [e.kept_whole, Hypothesis("an escape is predicted", bool(escapes))]
    small = bool(imbalance.max() <= 2.0 * BALANCED * np.abs(e.start.mu).max())
    supposes = [
        e.dominated,
        e.small,
        Hypothesis("the imbalance is small against the start", small),
        e.long_enough(predicted),
    ]
    if escapes and e.disjoint:
        supposes += _quiet_rivals(e, escapes, float(imbalance.max()))
    supposes.append(Hypothesis(f"there are at most {CROWD} heads", e.heads <= CROWD))
    yield Trial(measure, needs, supposes)


def _seen(e: Evidence, time: float) -> float:
    """The time, or the flow's end if it was not seen until then."""
    return time if np.isfinite(time) else e.end


def _quiet_rivals(e: Evidence, escapes: list[Escape], imbalance: float) -> list[Hypothesis]:
    """Whether the rivals of the escaping tasks are small and still on the winner's side at the emergence."""
    assert e.problem.home is not None
    largest, waiting, unsettled = 0.0, True, 0.0
    for escape in escapes:
        emerged = e.flow.phases.tasks[escape.task]
        assert emerged.head is not None
        block = e.problem.home[escape.task]
        unit = e.problem.covariance[block] * e.problem.block_sizes[block] ** 0.5
        at = e.flow(emerged.time)
        largest = max(largest, unit * abs(float(at.omega[escape.head, block])))
        side = np.sign(at.mu[emerged.head, escape.task]) * at.mu[:, escape.task]
        waiting = waiting and bool((side > imbalance).all())
        unsettled = max(unsettled, _unsettled(e, escape, emerged.time, emerged.head))
    return [
        Hypothesis(
            f"the rate settles early: it costs at most {SETTLING:.0%} of the time", unsettled <= SETTLING
        ),
        Hypothesis(f"the rival's kappa sqrt(d) omega is at most {RIVAL:g}", largest <= RIVAL),
        Hypothesis("no rival has changed sign before the emergence", waiting),
    ]


def _unsettled(e: Evidence, escape: Escape, emerged: float, winner: int) -> float:
    """How much of the predicted time it costs that the rate of a rival's fall is not yet that of the limit.

    The winner settles, the omega of a rival that takes another task decays, and their omega on other blocks
    overlap: the rate in the mean over the wait, over that which the prediction has.
    """
    assert e.problem.home is not None
    assert escape.predicted_time is not None
    assert e.limit.weights is not None
    block, task = e.problem.home[escape.task], escape.task
    end = min(escape.predicted_time, _seen(e, escape.time))
    times = np.linspace(emerged, end, _MOMENTS)
    at = e.flow(emerged)
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    rates = []
    for time in times:
        now = e.flow(time)
        alone = np.zeros_like(now.mu)
        alone[winner, task] = now.mu[winner, task]
        slope = gradient_at(e.problem, State(now.omega, alone), e.kernel).mu[escape.head, task]
        rates.append(2.0 * side * slope)
    there = settled(e.problem, at, task, winner, e.limit.weights)
    last = fall(e.problem, there, task, winner, escape.head, e.kernel)
    wait = (end - emerged) / end
    return abs(float(np.trapezoid(rates)) / (_MOMENTS - 1) / last - 1.0) * wait


@claim(
    "kernel-validity",
    "Along the flow the law's excess is that of softmax attention to the error that is estimated for it and "
    f"{SAMPLED:.0%}, where the estimate is below {UNTOLD:.0%}.",
    "softmax of sampled prompts; the estimate is derived from the series in 1/L",
)
def _kernel(e: Evidence) -> Trials:
    spent = e.flow.saturation
    states = [e.start, e.near(spent.worst_at), e.near(spent.error_at), e.flow.final]
    yield _compared(e.problem, states, e, [_sampled(e), e.learns])


@claim(
    "length-generalisation",
    f"At {LENGTHS:g} times their length, trained weights have the excess with L replaced, to the error "
    f"estimated there and {SAMPLED:.0%}.",
    CSWY,
)
def _length(e: Evidence) -> Trials:
    tested = replace(e.problem, context_length=min(round(LENGTHS * e.problem.context_length), LARGEST))
    yield _compared(tested, [e.flow.final], e, [_sampled(e, LENGTHS), e.learns])


@claim(
    "superposition",
    "Tasks that share a block gain from one head more than tasks, H = I + 1, in the full model.",
    HPCY,
)
def _superposition(e: Evidence) -> Trials:
    tasks = e.problem.tasks

    def measure() -> Finding:
        few, more = best
        assert few.weights is not None
        assert more.weights is not None
        prompts = softmax.affordable(e.problem, e.prompts)
        drawn = softmax.losses(e.problem, [few.weights, more.weights], prompts, e.seed)
        gap, error = float(drawn.mean[0] - drawn.mean[1]), float(drawn.gap_error[0, 1])
        what = f"loss of {tasks} heads less that of {tasks + 1}, {prompts} prompts, above {SIGMAS:g} errors"
        return Finding.positive(gap, error, few.loss - more.loss, what)

    signal = e.problem.signal
    much = signal.power >= SHARED * e.problem.power[signal.task]
    shared = np.bincount(signal.block[much], minlength=1).max() > 1
    needs = [
        _sampled(e),
        Hypothesis(f"tasks share a block, with {SHARED:.0%} of their power or more", bool(shared)),
    ]
    needs.append(Hypothesis("the tasks' best maps are linearly independent", rank(e.problem) == tasks))
    if not all(needs):
        yield Trial(measure, needs)
        return
    best = [minimise(e.problem, heads, e.kernel, e.seed) for heads in (tasks, tasks + 1)]
    yield Trial(measure, needs, [_told_apart(e, *best)])


def _told_apart(e: Evidence, few: Optimum, more: Optimum) -> Hypothesis:
    """Whether the gain of one head more is above the error of the law at either optimum.

    By the series to order 1/L^2 and its last term: of heads that all but coalesce their estimated error is no
    guide, since what it takes for large cancels. The exact law has no such error, and its optima their own.
    """
    law = check_kernel(e.kernel)
    error = few.error + more.error
    for best in (few, more) if law != EXACT else ():
        assert best.weights is not None
        found = terms(e.problem, *best.weights)
        last = float(second_order(e.problem, *best.weights).sum()) / e.problem.context_length**2
        error += abs(float(found.noise(law)[0] - found.first_order[0]) - last) + abs(last)
    gain = few.loss - more.loss
    return Hypothesis("the predicted gain is above the error of the law", gain > error)


def _compared(problem: Problem, states: list[State], e: Evidence, needs: list[Hypothesis]) -> Trial:
    """Sampled excesses against the law's, to the error estimated for each state and `SAMPLED`.

    More prompts are drawn until every state is decided: its difference is more than three standard errors
    away from what is allowed, so that a verdict is wrong by chance with probability 0.0014 a state. If the
    allowed difference is still within the error bar in the end, there is none.
    """
    noise = float(np.sum(problem.noise))
    reduced = np.array([losses_at(problem, state, e.kernel).sum() for state in states]) - noise
    omega, mu = (np.array(values) for values in zip(*states, strict=True))
    told = excess_errors(problem, State(omega, mu), e.kernel)
    allowed = told + SAMPLED

    def measure() -> Finding:
        for prompts in dict.fromkeys(softmax.affordable(problem, more * e.prompts) for more in (1, 4, 16)):
            drawn = softmax.losses(problem, states, prompts, e.seed)
            sampled = drawn.mean - noise
            off, bar = np.abs(reduced - sampled) / sampled, drawn.error / sampled
            if (np.abs(off - allowed) > SIGMAS * bar).all():
                break
        else:
            worst = int(((off + SIGMAS * bar) / allowed).argmax())
            raise UnmeasurableError(
                f"{off[worst]:.1%} +- {bar[worst]:.1%} off against {allowed[worst]:.1%}, undecided with "
                f"{prompts} prompts"
            )
        worst = int((off / np.minimum(allowed, 1.0)).argmax())
        drawn_from = f"{prompts} prompts of {problem.context_length:g} pairs"
        what = f"sampled and reduced excess, within {allowed[worst]:.1%}; {drawn_from}"
        mean, error = float(sampled[worst]), float(drawn.error[worst])
        return Finding.sampled(mean, error, float(reduced[worst]), float(allowed[worst]), what)

    powers = float(e.powers.sum())
    as_zero = e.beyond_zero(bool((np.abs(reduced - powers) <= allowed * powers).all()))
    worst = float(told.max())
    text = f"the error estimated for the law is at most {UNTOLD:.0%}"
    known = "" if np.isfinite(worst) else " and known"
    return Trial(measure, needs, [Hypothesis(text + known, worst <= UNTOLD), as_zero])


def _sampled(e: Evidence, longer: float = 1.0) -> Hypothesis:
    """Prompts, of so many times the problem's length, that are short enough to be drawn."""
    length, dimension = round(longer * e.problem.context_length), e.problem.dimension
    if e.problem.tasks * max(length, dimension) > softmax.LARGEST_OF_TASKS:
        return Hypothesis(
            f"tasks have at most {softmax.LARGEST_OF_TASKS:g} numbers of a prompt to sample", False
        )
    text = f"a prompt has at most {softmax.LARGEST_PROMPT:g} covariates to sample"
    return Hypothesis(text, length * dimension <= softmax.LARGEST_PROMPT)


def _off_diagonal(sample: softmax.Sample) -> Floats:
    """z-scores of the off-diagonal entries of matrices (H, n, n)."""
    outside = ~np.eye(sample.mean.shape[1], dtype=bool)
    mean, error = sample.mean[:, outside].ravel(), sample.error[:, outside].ravel()
    scores: Floats = mean[error > 0.0] / error[error > 0.0]
    return scores


def _rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean()))


def _listed(heads: tuple[int | None, ...]) -> str:
    return listed(["-" if head is None else head for head in heads])
