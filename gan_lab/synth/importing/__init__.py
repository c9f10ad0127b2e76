"""A user's own table, understood: which columns are life, time, wear, category and sensor.

It hands out `import_table`, which leaves a profile and a seed table, or says what is wrong in one
sentence. It imports `workspace`, and no other room of `synth`.
"""
