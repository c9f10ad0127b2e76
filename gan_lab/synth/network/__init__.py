"""The parts of a TVAE: encoding, network, optimizer, latent prior, and the file a model is kept in.

It hands them out to `tabular` and `lives`, which stand on it. It imports the words of the house,
and no other room of `synth`.
"""
