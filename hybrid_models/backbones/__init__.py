"""Convolutional parts: image to feature map."""
