"""The network: K models as one, layers, products, the start of weights."""
