"""What targets share: recipes, compilers, and the headers of compiled files."""
