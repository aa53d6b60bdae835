"""Arrays that are divided among devices: each device sorts its own rows.

XLA makes eight devices of a CPU, if it is told to before it starts. Therefore one process of its
own makes all checks, and prints what came of each.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

TESTS = Path(__file__).resolve().parent.parent
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function

    def test(passed):
        assert passed[function.__name__] == "passed"

    test.__doc__ = function.__doc__
    return test


@pytest.fixture(scope="module")
def passed():
    """What each check said in the process with eight devices."""
    ran = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


class Case:
    """An array of distinct numbers, divided along an axis of a mesh of eight devices."""

    def __init__(self, kind="Auto", shape=(32, 9), axis=0):
        import jax.numpy as jnp
        import numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        self.mesh = jax.make_mesh((8,), ("d",), axis_types=(getattr(AxisType, kind),))
        self.spec = PartitionSpec(*[None] * axis, "d")
        self.sharding = NamedSharding(self.mesh, self.spec)
        x = np.random.default_rng(6).permutation(np.prod(shape)).reshape(shape)
        self.x = jnp.asarray(x, jnp.float32)
        self.divided = jax.device_put(self.x, self.sharding)

    def shard_map(self, function, out_specs=None):
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=self.spec, out_specs=out_specs or self.spec
        )


def equal(result, expected):
    import numpy as np

    for own, theirs in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(own, theirs, strict=True)


def loss(function):
    return lambda a: (function(a) ** 3).sum()


def program_of(function, *arguments):
    """The program that each device runs."""
    return jax.jit(function).lower(*arguments).compile().as_text()


def own_rows_only(text, shape):
    """Assert that a device sorts an array of a shape, and asks no other one."""
    (call,) = (line for line in text.splitlines() if " custom-call(" in line)
    assert f"f32[{','.join(map(str, shape))}]" in call
    for collective in ("all-gather", "all-to-all", "all-reduce", "collective-permute"):
        assert collective not in text


@check
def test_automatic_sharding_sorts_own_rows():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case()
    equal(jax.jit(wbs.sort)(case.divided), jnp.sort(case.x))
    equal(jax.jit(wbs.argsort)(case.divided), jnp.argsort(case.x))
    equal(jax.jit(lambda a: wbs.top_k(a, 2))(case.divided), jax.lax.top_k(case.x, 2))
    own_rows_only(program_of(lambda a: wbs.sort(a) + a, case.divided), (4, 9))
    sort = jax.jit(wbs.sort, out_shardings=case.sharding)
    own_rows_only(sort.lower(case.divided).compile().as_text(), (4, 9))
    assert sort(case.divided).sharding == case.sharding


@check
def test_automatic_sharding_of_columns_sorts_own_columns():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case(shape=(9, 32), axis=1)
    equal(jax.jit(lambda a: wbs.sort(a, 0))(case.divided), jnp.sort(case.x, 0))
    own_rows_only(program_of(lambda a: wbs.sort(a, 0) + a, case.divided), (4, 9))


@check
def test_automatic_sharding_along_the_rows_gathers_them():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case(shape=(3, 16), axis=1)
    equal(jax.jit(wbs.sort)(case.divided), jnp.sort(case.x))
    equal(jax.jit(wbs.argsort)(case.divided), jnp.argsort(case.x))


@check
def test_automatic_sharding_of_derivative_and_median():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case()
    equal(jax.jit(jax.grad(loss(wbs.sort)))(case.divided), jax.grad(loss(jnp.sort))(case.x))
    equal(wbs.median(case.divided, axis=-1), jnp.median(case.x, axis=-1))


@check
def test_shard_map_and_its_derivatives():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case()
    sort = case.shard_map(wbs.sort)
    equal(jax.jit(sort)(case.divided), jnp.sort(case.x))
    equal(jax.jit(jax.grad(loss(sort)))(case.divided), jax.grad(loss(jnp.sort))(case.x))
    inside = case.shard_map(jax.grad(loss(wbs.sort)))
    equal(jax.jit(inside)(case.divided), jax.grad(loss(jnp.sort))(case.x))
    top_k = case.shard_map(lambda a: wbs.top_k(a, 3), (case.spec, case.spec))
    equal(jax.jit(top_k)(case.divided), jax.lax.top_k(case.x, 3))
    median = case.shard_map(lambda a: wbs.median(a, axis=-1))
    equal(jax.jit(median)(case.divided), jnp.median(case.x, axis=-1))
    columns = Case(shape=(9, 32), axis=1)
    equal(
        jax.jit(columns.shard_map(lambda a: wbs.sort(a, 0)))(columns.divided),
        jnp.sort(columns.x, 0),
    )


@check
def test_explicit_mesh_keeps_the_sharding_in_the_type():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case("Explicit")
    with jax.set_mesh(case.mesh):
        for result in (wbs.sort(case.divided), *wbs.top_k(case.divided, 3)):
            assert jax.typeof(result).sharding.spec == jax.typeof(case.divided).sharding.spec
        equal(wbs.sort(case.divided), jnp.sort(case.x))
        equal(wbs.argsort(case.divided), jnp.argsort(case.x))
        own_rows_only(program_of(wbs.sort, case.divided), (4, 9))
        columns = Case("Explicit", shape=(9, 32), axis=1).divided
        assert jax.typeof(wbs.sort(columns, 0)) == jax.typeof(columns)
        equal(wbs.sort(columns, 0), jnp.sort(columns, 0))
        own_rows_only(program_of(lambda a: wbs.sort(a, 0), columns), (4, 9))
        equal(jax.jit(jax.grad(loss(wbs.sort)))(case.divided), jax.grad(loss(jnp.sort))(case.x))
        equal(wbs.median(case.divided, axis=-1), jnp.median(case.x, axis=-1))


@check
def test_explicit_mesh_along_the_rows_raises_the_error_of_jax():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case = Case("Explicit", shape=(3, 16), axis=1)
    pairs = [
        (wbs.sort, jnp.sort),
        (wbs.argsort, jnp.argsort),
        (lambda a: wbs.top_k(a, 2), lambda a: jax.lax.top_k(a, 2)),
    ]
    with jax.set_mesh(case.mesh):
        for own, theirs in pairs:
            with pytest.raises(Exception, match="unsharded") as expected:
                theirs(case.divided)
            with pytest.raises(expected.type) as raised:
                own(case.divided)
            assert str(raised.value) == str(expected.value)


@check
def test_mesh_of_two_axes_divides_batches_and_keeps_rows():
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from warp_bitonic_sort import jax as wbs

    mesh = jax.make_mesh((4, 2), ("a", "b"))
    x = jnp.asarray(np.random.default_rng(7).permutation(8 * 4 * 9).reshape(8, 4, 9), jnp.float32)
    divided = jax.device_put(x, NamedSharding(mesh, PartitionSpec("a", "b")))
    equal(jax.jit(wbs.sort)(divided), jnp.sort(x))
    own_rows_only(program_of(lambda a: wbs.sort(a) + a, divided), (2, 2, 9))


@check
def test_shard_map_over_one_of_two_axes_leaves_the_other_to_xla():
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import NamedSharding, PartitionSpec

    from warp_bitonic_sort import jax as wbs

    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    x = jnp.asarray(np.random.default_rng(7).permutation(9 * 4 * 8).reshape(9, 4, 8), jnp.float32)
    divided = jax.device_put(x, NamedSharding(mesh, PartitionSpec(None, "a", "b")))
    columns = jax.shard_map(
        lambda a: wbs.sort(a, 0) + a,
        mesh=mesh,
        in_specs=PartitionSpec(None, "a"),
        out_specs=PartitionSpec(None, "a"),
        axis_names={"a"},
    )
    equal(jax.jit(columns)(divided), jnp.sort(x, 0) + x)
    own_rows_only(program_of(columns, divided), (1, 4, 9))


@check
def test_array_on_the_last_device_is_sorted_there():
    import jax.numpy as jnp

    from warp_bitonic_sort import jax as wbs

    case, device = Case(), jax.devices()[-1]
    result = wbs.sort(jax.device_put(case.x, device))
    assert result.devices() == {device}
    equal(result, jnp.sort(case.x))


if __name__ == "__main__":
    said = {}
    for name, function in CHECKS.items():
        try:
            function()
            said[name] = "passed"
        except BaseException as error:  # that of pytest.raises, too
            said[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(said))
