"""Tasks beyond linear ones: single-index functions in Hermite polynomials, under softmax attention.

Their loss under two laws of the context, its gradient flow, what heads learn of every degree, the best heads,
and softmax attention itself on drawn prompts.
"""

from spectral_icl.multitask.nonlinear.experiment import NonlinearExperiment as NonlinearExperiment
from spectral_icl.multitask.nonlinear.flow import SingleIndexFlow as SingleIndexFlow
from spectral_icl.multitask.nonlinear.flow import UnfinishedFlow as UnfinishedFlow
from spectral_icl.multitask.nonlinear.flow import gradient_flow as gradient_flow
from spectral_icl.multitask.nonlinear.learned import Learned as Learned
from spectral_icl.multitask.nonlinear.learned import learned as learned
from spectral_icl.multitask.nonlinear.loss import gradient as gradient
from spectral_icl.multitask.nonlinear.loss import loss as loss
from spectral_icl.multitask.nonlinear.loss import task_loss as task_loss
from spectral_icl.multitask.nonlinear.optimal import BestHeads as BestHeads
from spectral_icl.multitask.nonlinear.optimal import best_head as best_head
from spectral_icl.multitask.nonlinear.optimal import best_pair as best_pair
from spectral_icl.multitask.nonlinear.optimal import lower_bound as lower_bound
from spectral_icl.multitask.nonlinear.problem import SingleIndex as SingleIndex
from spectral_icl.multitask.nonlinear.sampled import Losses as Losses
from spectral_icl.multitask.nonlinear.sampled import losses as losses
