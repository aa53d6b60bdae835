"""`sort`, `argsort` and `top_k` of warp_bitonic_sort.jax under each transformation of JAX.

jax.numpy and jax.lax are the oracle: elements are distinct integers, so that both give the same.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from warp_bitonic_sort import jax as wbs

A = jnp.asarray(np.random.default_rng(4).permutation(54).reshape(6, 9), jnp.float32)
FUNCTIONS = {
    "sort": (wbs.sort, jnp.sort),
    "descending": (lambda a: wbs.sort(a, descending=True), lambda a: jnp.sort(a, descending=True)),
    "unstable": (lambda a: wbs.sort(a, 0, stable=False), lambda a: jnp.sort(a, 0)),
    "top_k": (lambda a: wbs.top_k(a, 3)[0], lambda a: lax.top_k(a, 3)[0]),
}


@pytest.fixture(params=FUNCTIONS.values(), ids=FUNCTIONS)
def functions(request):
    return request.param


def check_equal(result, expected):
    for own, theirs in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        assert own.dtype == theirs.dtype
        np.testing.assert_array_equal(own, theirs, strict=True)


def check_transformed(functions, transform, *arguments):
    """Assert that both functions give the same when transformed."""
    own, theirs = functions
    check_equal(transform(own)(*arguments), transform(theirs)(*arguments))


def test_jit(functions):
    check_transformed(functions, jax.jit, A)


def test_vmap(functions):
    x = A.reshape(3, 3, 6)
    for axis in (1, 2):
        check_transformed(functions, lambda f, axis=axis: jax.vmap(f, axis, 1), x)


def test_vmap_of_indices():
    x = A.reshape(3, 2, 9)
    check_equal(jax.vmap(wbs.argsort, 2)(x), jax.vmap(jnp.argsort, 2)(x))
    check_equal(jax.vmap(lambda a: wbs.top_k(a, 2))(x), jax.vmap(lambda a: lax.top_k(a, 2))(x))


def test_vmap_over_an_array_that_is_not_mapped():
    def both(f):
        return jax.vmap(lambda a, b: f(a) + b, (None, 0))

    check_equal(both(wbs.sort)(A, jnp.arange(3.0)), both(jnp.sort)(A, jnp.arange(3.0)))


def test_grad(functions):
    def transform(f):
        return jax.grad(lambda a: (f(a) ** 3).sum())

    check_transformed(functions, lambda f: jax.jit(transform(f)), A)


def test_jvp(functions):
    check_transformed(functions, lambda f: lambda a: jax.jvp(f, (a,), (a**2,)), A)


def test_hessian(functions):
    check_transformed(
        functions, lambda f: jax.jit(jax.hessian(lambda a: (f(a) ** 3).sum())), A[:2, :3]
    )


def test_vmap_of_grad(functions):
    def transform(f):
        return jax.jit(jax.vmap(jax.grad(lambda a: (f(a) ** 3).sum()), 1))

    check_transformed(functions, transform, A.reshape(3, 2, 9))


def test_grad_of_vmap(functions):
    def transform(f):
        return jax.jit(jax.grad(lambda a: (jax.vmap(f)(a) ** 3).sum()))

    check_transformed(functions, transform, A.reshape(3, 2, 9))


def test_remat(functions):
    def transform(f):
        return jax.grad(lambda a: (jax.checkpoint(lambda a: f(2 * a))(a) ** 3).sum())

    check_transformed(functions, transform, A)


def test_linear_transpose_of_the_derivative(functions):
    def transform(f):
        def transposed(a):
            value, tangent_of = jax.linearize(f, a)
            return jax.linear_transpose(tangent_of, a)(value)

        return transposed

    check_transformed(functions, transform, A)


def test_scan():
    def scanned(f):
        return lambda a: lax.scan(lambda total, x: (total + f(x), f(x)), jnp.zeros(9), a)

    check_equal(scanned(wbs.sort)(A), scanned(jnp.sort)(A))

    def loss(f):
        return jax.jit(jax.grad(lambda a: (scanned(f)(a)[0] ** 2).sum()))

    check_equal(loss(wbs.sort)(A), loss(jnp.sort)(A))


def test_while_loop_and_cond():
    def program(f):
        def body(state):
            step, a = state
            return step + 1, lax.cond(step % 2 == 0, f, lambda a: -a, a)

        return jax.jit(lambda a: lax.while_loop(lambda state: state[0] < 4, body, (0, a))[1])

    check_equal(program(wbs.sort)(A), program(jnp.sort)(A))


def test_tangent_of_equal_elements_goes_to_their_places_as_in_jax():
    ties = jnp.asarray([2.0, 1.0, 2.0, 0.0, -0.0, 1.0])
    weights = jnp.arange(6.0)
    for options in ({}, {"descending": True}):
        own = jax.grad(lambda a: wbs.sort(a, **options) @ weights)(ties)  # noqa: B023
        theirs = jax.grad(lambda a: jnp.sort(a, **options) @ weights)(ties)  # noqa: B023
        check_equal(own, theirs)


def test_integers_have_no_derivative():
    x = A.astype("int32")
    _, tangents = jax.jvp(wbs.argsort, (A,), (A,))
    assert tangents.dtype == jax.dtypes.float0
    vjp = jax.vjp(lambda a: wbs.top_k(a, 2)[1], x)[1]
    (cotangent,) = vjp(np.zeros((6, 2), jax.dtypes.float0))
    assert cotangent.dtype == jax.dtypes.float0


def test_disable_jit(functions):
    own, theirs = functions
    with jax.disable_jit():
        check_equal(own(A), theirs(A))


def test_eval_shape_builds_nothing():
    shapes = jax.eval_shape(lambda a: wbs.top_k(a, 5), jax.ShapeDtypeStruct((3, 77777), "bfloat16"))
    assert [(shape.shape, shape.dtype) for shape in shapes] == [
        ((3, 5), jnp.bfloat16),
        ((3, 5), jnp.int32),
    ]


def test_weak_type_is_kept_as_by_jax():
    weak = jnp.full((3, 9), 1.0)
    assert wbs.sort(weak).weak_type == jnp.sort(weak).weak_type
    assert wbs.argsort(weak).weak_type == jnp.argsort(weak).weak_type


def test_donated_array():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # XLA may not use the memory
        result = jax.jit(lambda a: wbs.sort(a, stable=False), donate_argnums=0)(A + 0)
    check_equal(result, jnp.sort(A))


def test_committed_array_stays_on_its_device():
    (device,) = jax.devices()[:1]
    assert wbs.sort(jax.device_put(A, device)).committed
    assert not wbs.sort(A).committed


def test_array_that_is_not_row_major():
    x = jax.jit(lambda a: wbs.sort(a.T))(A)
    check_equal(x, jnp.sort(A.T))


def target_of(function, *arguments):
    """The name of the custom call in a function's program."""
    text = jax.jit(function).lower(*arguments).as_text()
    return text.split("custom_call @")[1].split("(")[0]


def test_export_needs_the_name_of_the_target():
    with pytest.raises(ValueError, match="warp_bitonic_sort.cpu_"):
        export.export(jax.jit(wbs.sort))(A)
    check = export.DisabledSafetyCheck.custom_call(target_of(wbs.sort, A))
    exported = export.export(jax.jit(wbs.sort), disabled_checks=[check])(A)
    check_equal(exported.call(A), jnp.sort(A))


def test_export_of_symbolic_shape_uses_the_sort_of_xla():
    shape = export.symbolic_shape("rows, 9")
    exported = export.export(jax.jit(wbs.sort))(jax.ShapeDtypeStruct(shape, jnp.float32))
    check_equal(exported.call(A), jnp.sort(A))


def test_calls_from_threads_give_the_same():
    from concurrent.futures import ThreadPoolExecutor

    large = jnp.asarray(np.random.default_rng(5).random((20000, 9)), jnp.float32)
    expected = np.sort(np.asarray(large))
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(wbs.sort, [large] * 12):
            np.testing.assert_array_equal(result, expected)
