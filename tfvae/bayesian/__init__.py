"""Weights as random variables: layers with a posterior over their weights, for any network.

A Bayesian layer holds a diagonal Normal q(w) in place of its kernel and bias. Training maximises
the bound on the evidence of *all* the data, in which the weights are paid for once:

    log p(x_1..N)  >=  sum_n E_q(w) [ELBO(x_n; w)] - KL(q(w) || p(w))

so each example's loss has KL(q(w) || p(w)) / N. :class:`tfvae.training.TraceModel` adds it wherever
there are such layers, and logs it as ``weight_kl``. Outside of training and ``evaluate`` the
weights are their means; :func:`draw` makes a model of one draw of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
