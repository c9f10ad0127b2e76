"""Physics of machines that wear out: a seed table of lives from a profile.

It hands out `simulate`. It imports the words of the house, and no other room of `synth`.
"""
