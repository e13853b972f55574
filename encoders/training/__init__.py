"""How our own encoders are trained: networks' starts, losses, the loop. Tensors in, weights out."""
