"""How far synthetic rows can be trusted: fidelity, utility, privacy, physics, and a verdict.

It hands out `evaluate`, which takes tables and returns a report, and `render_html`. It imports the
words of the house, and no other room of `synth`.
"""
