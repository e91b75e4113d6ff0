"""Backbones: the convolutional part of a model, from image to feature map."""
