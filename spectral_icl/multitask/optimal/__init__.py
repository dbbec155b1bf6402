"""Benchmarks that a trained attention is measured against."""

from spectral_icl.multitask.optimal.benchmarks import Benchmark as Benchmark
from spectral_icl.multitask.optimal.benchmarks import Optimum as Optimum
from spectral_icl.multitask.optimal.benchmarks import bayes as bayes
from spectral_icl.multitask.optimal.benchmarks import effective_dimension as effective_dimension
from spectral_icl.multitask.optimal.benchmarks import excess as excess
from spectral_icl.multitask.optimal.benchmarks import gain as gain
from spectral_icl.multitask.optimal.benchmarks import gradient_step as gradient_step
from spectral_icl.multitask.optimal.benchmarks import head_budget as head_budget
from spectral_icl.multitask.optimal.benchmarks import head_per_task as head_per_task
from spectral_icl.multitask.optimal.benchmarks import length_generalisation as length_generalisation
from spectral_icl.multitask.optimal.benchmarks import lower_bound as lower_bound
from spectral_icl.multitask.optimal.benchmarks import minimise as minimise
from spectral_icl.multitask.optimal.benchmarks import plateau as plateau
from spectral_icl.multitask.optimal.benchmarks import rank as rank
from spectral_icl.multitask.optimal.benchmarks import single_head as single_head
from spectral_icl.multitask.optimal.benchmarks import small_heads as small_heads
