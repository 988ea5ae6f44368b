"""Convolutional networks trained by sparse matrix products, their transposes and elementwise functions.

A linear layer is a `convmatrix.WeightPattern`. A training step takes three products (Goodfellow, Bengio, Courville,
Deep Learning, 2016, eq. 9.8 - 9.13): the forward product with the matrix A(w), the product with its transpose that
propagates the gradient to the input, and the contraction of the pattern with input and gradient that gives the weight
gradient. Arrays are ``(batch, channels, *spatial)``.
"""

from convmatrix.nn.belief_network import BeliefNetwork, LayerHistory, fit_greedily
from convmatrix.nn.boltzmann import BoltzmannMachine
from convmatrix.nn.convolution import Conv, ConvTranspose
from convmatrix.nn.elementwise import GELU, Activation, BatchNorm, Dropout, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from convmatrix.nn.layer import Layer, Product, glorot_uniform, he_normal, lecun_uniform
from convmatrix.nn.linear import Dense, Flatten, Pad, PatternLayer
from convmatrix.nn.optimisation import (
    SGD,
    Adam,
    Loss,
    Optimiser,
    SoftmaxCrossEntropy,
    SquaredError,
    cosine_decay,
    step_decay,
)
from convmatrix.nn.pooling import AvgPool, MaxPool, Subsample
from convmatrix.nn.sequential import Residual, Sequential, lecun1989, lenet5, small
from convmatrix.nn.training import History, NonFiniteError, accuracy, fit, predict
from convmatrix.nn.visualisation import (
    Excitation,
    activations,
    back_projection,
    filters,
    most_exciting,
    receptive_field,
)

__all__ = [
    "GELU",
    "SGD",
    "Activation",
    "Adam",
    "AvgPool",
    "BatchNorm",
    "BeliefNetwork",
    "BoltzmannMachine",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Excitation",
    "Flatten",
    "History",
    "Layer",
    "LayerHistory",
    "LeakyReLU",
    "Loss",
    "MaxPool",
    "NonFiniteError",
    "Optimiser",
    "Pad",
    "PatternLayer",
    "Product",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Subsample",
    "Tanh",
    "accuracy",
    "activations",
    "back_projection",
    "cosine_decay",
    "filters",
    "fit",
    "fit_greedily",
    "glorot_uniform",
    "he_normal",
    "lecun1989",
    "lecun_uniform",
    "lenet5",
    "most_exciting",
    "predict",
    "receptive_field",
    "small",
    "step_decay",
]


def __dir__() -> list[str]:
    return sorted(__all__)
