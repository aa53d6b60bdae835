"""Contains what targets share: recipes, compilers, layouts, and the headers of compiled files.

Invariant: no module here imports a target.
"""
