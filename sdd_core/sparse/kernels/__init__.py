"""Training and evaluation, compiled: whole epochs in one call.

`perceptron` and `residual` have the epochs of the two kinds of network; the other files have
their parts. Where every number lies is in the tables of a `Plan`.

Kernels take few arguments, each a record of arrays (`records`). A function that calls one of
another file takes `Lanes`, or a record with them: see `source_digest`.
"""
