"""What keeps a workspace well: `doctor` examines it, `cleaning` removes what is old.

It hands out findings, and what could go with its size, before anything is removed. It may import
all of `cluster`, and nothing of what shows.
"""
