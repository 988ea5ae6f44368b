"""Convolutional networks trained by sparse matrix products, their transposes and elementwise functions.

A linear layer is a `convmatrix.WeightPattern`; training it takes three products (Goodfellow, Bengio, Courville, Deep
Learning, 2016, eq. 9.8 - 9.13): with the matrix A(w) forward, with its transpose to bring the gradient back to the
input, and the contraction of the pattern with input and gradient for the weights. Arrays are ``(batch, channels,
*spatial)``.
"""

from convmatrix.nn.elementwise import GELU, Flatten, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from convmatrix.nn.initialisers import glorot_uniform, he_normal, lecun_uniform
from convmatrix.nn.layer import Layer, Product
from convmatrix.nn.linear import Conv, ConvTranspose, Dense
from convmatrix.nn.losses import Loss, SoftmaxCrossEntropy, SquaredError
from convmatrix.nn.network import Residual, Sequential
from convmatrix.nn.networks import lecun1989, lenet5, small
from convmatrix.nn.normalisation import BatchNorm, Dropout
from convmatrix.nn.optimisers import SGD, Adam, Optimiser, cosine_decay, step_decay
from convmatrix.nn.padding import Pad
from convmatrix.nn.pooling import AvgPool, MaxPool, Subsample
from convmatrix.nn.training import History, NonFiniteError, accuracy, fit, predict
from convmatrix.nn.views import Excitation, activations, back_projection, filters, most_exciting, receptive_field

__all__ = [
    "GELU",
    "SGD",
    "Adam",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Excitation",
    "Flatten",
    "History",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MaxPool",
    "NonFiniteError",
    "Optimiser",
    "Pad",
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
