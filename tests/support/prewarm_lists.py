"""The list of artifacts that prewarm writes, compared with the files that it names."""

import json
from pathlib import Path

from warp_bitonic_sort.jit.store.files import digest
from warp_bitonic_sort.targets import recipe_of


def checked(file, *, complete=True):
    """Return the artifacts of a list that prewarm wrote, by name, after a look at their files."""
    said = json.loads(Path(file).read_text())
    assert said["complete"] is complete
    for each in said["artifacts"]:
        assert set(each) == {"name", "target", "arch", "path", "size", "digest", "error"}
        if each["error"] is None:
            data = Path(each["path"]).read_bytes()
            assert (len(data), digest(data)) == (each["size"], each["digest"])
            assert Path(each["path"]).name == recipe_of(each["target"]).product
            assert recipe_of(each["target"]).is_for(data, each["arch"])
        else:
            assert (each["path"], each["size"], each["digest"]) == (None, 0, None)
    assert complete is all(each["error"] is None for each in said["artifacts"])
    return {each["name"]: each for each in said["artifacts"]}
