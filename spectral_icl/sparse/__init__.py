"""Sparse linear regression in context: multi-head linear attention that preprocesses, then optimizes.

Chen, Zhao and Zou (2024), arXiv 2408.04532. Prompts, predictors, their risks in theory and simulated, and
transformers constructed head by head.
"""

from spectral_icl.sparse.comparison import Comparison as Comparison
from spectral_icl.sparse.comparison import compare as compare
from spectral_icl.sparse.experiment import Study as Study
from spectral_icl.sparse.filters import Flow as Flow
from spectral_icl.sparse.filters import Steps as Steps
from spectral_icl.sparse.predictors import gd as gd
from spectral_icl.sparse.predictors import group_p2o as group_p2o
from spectral_icl.sparse.predictors import lasso as lasso
from spectral_icl.sparse.predictors import lasso_cd as lasso_cd
from spectral_icl.sparse.predictors import ols as ols
from spectral_icl.sparse.predictors import oracle as oracle
from spectral_icl.sparse.predictors import p2o as p2o
from spectral_icl.sparse.predictors import partial_p2o as partial_p2o
from spectral_icl.sparse.predictors import ridge as ridge
from spectral_icl.sparse.problem import SparseProblem as SparseProblem
from spectral_icl.sparse.prompts import Prompts as Prompts
from spectral_icl.sparse.prompts import sample_prompts as sample_prompts
from spectral_icl.sparse.risk.equivalent import p2o_risk as p2o_risk
from spectral_icl.sparse.risk.equivalent import p2o_risk_given as p2o_risk_given
from spectral_icl.sparse.risk.given_labels import sample_r as sample_r
from spectral_icl.sparse.risk.isotropic import gd_risk as gd_risk
from spectral_icl.sparse.risk.isotropic import ols_risk as ols_risk
from spectral_icl.sparse.risk.isotropic import one_step_risk as one_step_risk
from spectral_icl.sparse.risk.isotropic import oracle_risk as oracle_risk
from spectral_icl.sparse.risk.isotropic import ridge_opt_risk as ridge_opt_risk
from spectral_icl.sparse.risk.isotropic import ridge_risk as ridge_risk
from spectral_icl.sparse.risk.isotropic import spectral_lower_bound as spectral_lower_bound
from spectral_icl.sparse.risk.quick import p2o_offsupport_leading as p2o_offsupport_leading
from spectral_icl.sparse.risk.quick import p2o_risk_gh as p2o_risk_gh
from spectral_icl.sparse.risk.spectrum import mp_functional as mp_functional
from spectral_icl.sparse.scaling import scaling_exponent as scaling_exponent
from spectral_icl.sparse.simulation import mc_risk as mc_risk
from spectral_icl.sparse.simulation import simulate as simulate
from spectral_icl.sparse.transformer.attention import Head as Head
from spectral_icl.sparse.transformer.attention import embed_prompt as embed_prompt
from spectral_icl.sparse.transformer.attention import linear_attention_layer as linear_attention_layer
from spectral_icl.sparse.transformer.attention import read_prediction as read_prediction
from spectral_icl.sparse.transformer.construction import build_gd_head as build_gd_head
from spectral_icl.sparse.transformer.construction import build_group_heads as build_group_heads
from spectral_icl.sparse.transformer.construction import build_narrow_heads as build_narrow_heads
from spectral_icl.sparse.transformer.construction import build_preprocess_heads as build_preprocess_heads
from spectral_icl.sparse.transformer.construction import check_construction as check_construction
from spectral_icl.sparse.transformer.heads import group_heads_risk as group_heads_risk
from spectral_icl.sparse.transformer.heads import head_mismatch as head_mismatch
from spectral_icl.sparse.transformer.heads import min_heads_exact as min_heads_exact
from spectral_icl.sparse.transformer.heads import partial_risk as partial_risk
from spectral_icl.sparse.transformer.model import LinTF as LinTF


def __getattr__(name: str) -> object:
    """The claims as functions (``predicates``), imported when asked for: they stand above this room."""
    if name == "predicates":
        from importlib import import_module

        return import_module("spectral_icl.theorems.sparse.check").predicates
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
