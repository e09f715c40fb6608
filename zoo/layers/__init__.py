"""Keras layers for cryo-EM, one idea per module, each usable alone in any functional model.

Random numbers are inputs, never drawn inside: a training step is a function of (seed, step).
"""

from zoo.layers.cameras import Rotation6D, TrainedCamera, UniformCamera
from zoo.layers.canonical_shift import CanonicalShift2D
from zoo.layers.coordinate_grid import CoordinateGrid
from zoo.layers.ctf_apply import CTFApply
from zoo.layers.cyclic_conv import CyclicConv2D, CyclicConv3D
from zoo.layers.cyclic_padding import CyclicPadding2D, CyclicPadding3D
from zoo.layers.fast_rotational_matching import FastRotationalMatching
from zoo.layers.film_mapping import FiLMMapping
from zoo.layers.fourier_slice import FourierSlice, ImageAssembly, VolumeAssembly
from zoo.layers.gabor import GaborBank
from zoo.layers.invariant_pooling import InvariantGlobalPooling2D, InvariantGlobalPooling3D
from zoo.layers.minibatch_discrimination import MinibatchDiscrimination
from zoo.layers.polar_warp import PolarWarp
from zoo.layers.polyphase import AdaptivePolyphase2D, AdaptivePolyphase3D
from zoo.layers.reparameterisation import GaussianReparameterisation
from zoo.layers.scalable_noise import ScalableNoise
from zoo.layers.sine_dense import SineDense
from zoo.layers.up_conv import UpConv3D

__all__ = [
    "AdaptivePolyphase2D",
    "AdaptivePolyphase3D",
    "CTFApply",
    "CanonicalShift2D",
    "CoordinateGrid",
    "CyclicConv2D",
    "CyclicConv3D",
    "CyclicPadding2D",
    "CyclicPadding3D",
    "FastRotationalMatching",
    "FiLMMapping",
    "FourierSlice",
    "GaborBank",
    "GaussianReparameterisation",
    "ImageAssembly",
    "InvariantGlobalPooling2D",
    "InvariantGlobalPooling3D",
    "MinibatchDiscrimination",
    "PolarWarp",
    "Rotation6D",
    "ScalableNoise",
    "SineDense",
    "TrainedCamera",
    "UniformCamera",
    "UpConv3D",
    "VolumeAssembly",
]
