"""The examples work as their texts say."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch

import warp_bitonic_sort

EXAMPLES = Path(__file__).parents[2] / "examples"
INCLUDE = f"-I{warp_bitonic_sort.get_include()}"


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(name):
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rank_filter():
    return example("rank_filter")


@pytest.fixture
def image_stack():
    return example("image_stack")


@pytest.fixture
def router():
    return example("router")


@pytest.fixture
def sampler():
    return example("sampler")


@pytest.fixture
def climatology():
    return example("climatology")


def test_rank_filter_of_random_image_equals_scipy(rank_filter):
    image = np.random.default_rng(0).random((20, 30), np.float32)
    for size, rank in [(3, 0), (3, 4), (5, 12), (5, 24)]:
        expected = scipy.ndimage.rank_filter(image, rank, size, mode="nearest")
        np.testing.assert_array_equal(rank_filter.rank_filter(image, size, rank), expected)


def test_rank_filter_as_program_reduces_the_error(rank_filter, capsys):
    rank_filter.main()
    output = capsys.readouterr().out
    noisy, filtered = (float(number) for number in re.findall(r"error ([\d.]+)", output))
    assert filtered < noisy / 5


def test_router_weights_equal_a_masked_softmax(router):
    torch.manual_seed(0)
    logits = torch.randn(50, 64).masked_fill(torch.rand(50, 64) < 0.25, -torch.inf)
    routes = router.route(logits, 8)
    smallest = torch.topk(logits, 8).values[:, -1:]
    expected = torch.softmax(logits.masked_fill(logits < smallest, -torch.inf), -1)
    weights = torch.zeros_like(logits).scatter_(-1, routes.experts, routes.weights)
    torch.testing.assert_close(weights, expected)


def test_router_mixes_the_answers_of_the_chosen_experts(router):
    torch.manual_seed(1)
    tokens, logits = torch.randn(30, 4), torch.randn(30, 64, requires_grad=True)
    experts = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(64))
    routes = router.route(logits, 3)
    result = router.mix(tokens, routes, experts)
    answers = torch.stack([expert(tokens) for expert in experts], 1)
    chosen = answers[torch.arange(30)[:, None], routes.experts]
    torch.testing.assert_close(result, (chosen * routes.weights[..., None]).sum(1))
    result.sum().backward()
    assert ((logits.grad != 0).sum(-1) == 3).all()


def test_router_as_program_sends_every_token_to_all_its_experts(router, capsys):
    router.main()
    assert f"{4096 * 8} in all" in capsys.readouterr().out


def test_sampler_probabilities_equal_those_of_a_filtered_vocabulary(sampler):
    torch.manual_seed(2)
    logits = 3 * torch.randn(40, 1000)
    logits[torch.rand(logits.shape) < 0.25] = -torch.inf
    for k, p, temperature in [(50, 0.9, 1.0), (1, 0.5, 1.0), (8, 1.0, 2.0), (1000, 0.3, 0.5)]:
        chosen = sampler.candidates(logits, k, p, temperature)
        scaled = logits / temperature
        scaled[scaled < torch.topk(scaled, k).values[:, -1:]] = -torch.inf
        ordered, order = scaled.sort(descending=True)
        shares = ordered.softmax(-1)
        ordered[shares.cumsum(-1) - shares >= p] = -torch.inf
        expected = torch.zeros_like(logits).scatter_(-1, order, ordered.softmax(-1))
        result = torch.zeros_like(logits).scatter_(-1, chosen.tokens, chosen.probabilities)
        torch.testing.assert_close(result, expected)


def test_sampler_draws_tokens_as_often_as_they_are_likely(sampler):
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(20000, 4)
    generator = torch.Generator().manual_seed(0)
    tokens = sampler.draw(sampler.candidates(logits, 3, 0.7), generator)
    counts = tokens.bincount(minlength=4) / len(tokens)
    torch.testing.assert_close(counts, torch.tensor([0.625, 0.375, 0, 0]), atol=0.02, rtol=0)


def test_sampler_as_program_never_draws_forbidden_tokens(sampler, capsys):
    sampler.main()
    output = capsys.readouterr().out
    least, most = (int(count) for count in re.findall(r"(\d+) tokens? may follow", output))
    assert 1 <= most < least <= 50
    assert output.endswith("forbidden tokens that were drawn: 0\n")


def test_cuda_graph_without_a_device_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs an NVIDIA GPU"):
        example("cuda_graph").main()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_graph_replays_equal_topk():
    logits = torch.randn(33, 5000, device="cuda")
    likeliest = example("cuda_graph").Likeliest(logits, 4)
    for _ in range(3):
        logits = torch.randn_like(logits)
        probabilities, tokens = likeliest(logits)
        values, expected = logits.topk(4)
        assert torch.equal(tokens, expected)
        torch.testing.assert_close(probabilities, values.softmax(-1))


def test_every_example_is_linked_from_a_page():
    texts = "".join(page.read_text() for page in (EXAMPLES.parent / "docs").rglob("*.md"))
    assert not {
        file.name
        for file in EXAMPLES.iterdir()
        if file.suffix in (".py", ".cc", ".cu") and f"examples/{file.name})" not in texts
    }


@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_climatology_equals_nanquantile_along_named_axes(climatology):
    random = np.random.default_rng(3)
    values = random.random((9, 4, 5, 6), np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    values[..., 2, 3] = np.nan
    field = climatology.Field(values, ("year", "month", "latitude", "longitude"))
    for dims, kept in [
        (["year"], ("quantile", "month", "latitude", "longitude")),
        (("longitude", "year"), ("quantile", "month", "latitude")),
    ]:
        result = climatology.quantiles_along(field, [0.1, 0.5], dims)
        assert result.dims == kept
        axes = tuple(map(field.dims.index, dims))
        expected = [np.nanquantile(values, q, axis=axes) for q in (0.1, 0.5)]
        np.testing.assert_array_equal(result.values, expected)


def test_climatology_as_program_shows_the_warming(climatology, capsys):
    climatology.main()
    first, last = (
        float(share) for share in re.findall(r"years: ([\d.]+)", capsys.readouterr().out)
    )
    assert 0 < 2 * first < last < 40


def test_image_stack_equals_nanmedian_and_nanquantile(image_stack):
    random = np.random.default_rng(2)
    exposures = random.random((9, 20, 30), np.float32)
    exposures[random.random(exposures.shape) < 0.2] = np.nan
    combined = image_stack.combine(exposures)
    np.testing.assert_array_equal(combined.image, np.nanmedian(exposures, axis=0))
    low, high = (np.nanquantile(exposures, q, axis=0) for q in (0.25, 0.75))
    np.testing.assert_array_equal(combined.spread, high - low)


def test_image_stack_as_program_reduces_the_error(image_stack, capsys):
    image_stack.main()
    mean, combined = (
        float(number) for number in re.findall(r"error ([\d.]+)", capsys.readouterr().out)
    )
    assert combined < mean / 50


@pytest.mark.parametrize("optimization", ["-O0", pytest.param("-O2", marks=pytest.mark.compile)])
def test_cpp_program_sorts_rows(optimization, tmp_path):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    program = tmp_path / "sort_rows"
    flags = ["-std=c++17", optimization, "-Wall", "-Wextra", "-Werror", INCLUDE]
    run(compiler, *flags, EXAMPLES / "sort_rows.cc", "-o", program)
    rows = np.array([line.split() for line in run(program).splitlines()], int)
    assert rows.shape == (8, 25)
    np.testing.assert_array_equal(rows, np.sort(rows))
    assert len(np.unique(rows)) > 50


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])
def test_cuda_kernel_compiles_without_local_memory(arch, nvcc, tmp_path):
    source, product = EXAMPLES / "median_filter.cu", tmp_path / "median_filter.cubin"
    command = [nvcc, "-cubin", f"-arch={arch}", "-std=c++17", "-Xptxas", "-v", INCLUDE, source]
    done = subprocess.run([*command, "-o", product], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "median_filter" in done.stderr
    assert "0 bytes stack frame, 0 bytes spill stores" in done.stderr


def test_parallel_vocabulary_of_two_processes_chooses_words():
    file = EXAMPLES / "parallel_vocabulary.py"
    printed = run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, file
    )
    assert printed.startswith("the likeliest of 50256 words: [")
