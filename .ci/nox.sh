# Defines run_nox, which runs sessions of noxfile.py with the nox of the lint extra. Source it.
run_nox() {
  python3 -m venv .venv-lint
  .venv-lint/bin/pip install --quiet "$(sed -n 's/^lint = .*"\(nox==[^"]*\)".*/\1/p' pyproject.toml)"
  .venv-lint/bin/nox --error-on-missing-interpreters --sessions "$@"
}
