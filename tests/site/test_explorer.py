"""The explorer of networks in a browser: it sorts right, and can be used by keys and by touch."""

import itertools
import math

import numpy as np
import pytest

from warp_bitonic_sort.cli._explorer import explorer_html

SPECIAL = [3.0, math.nan, -0.0, 7.0, 0.0, math.inf, -2.5, 3.0, -math.inf, 0.0]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(explorer_html(8))
    return path


@pytest.fixture
def open_page(browser, file):
    """Open the page with a state, and fail at the end if it printed an error or asked for more."""
    contexts, faults, requests = [], [], []

    def opened(path=file, viewport=DESKTOP, scheme="light", **state):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, has_touch=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        link = "&".join(f"{name}={value}" for name, value in state.items())
        page.goto(f"{path.as_uri()}#{link}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults
    assert not [each for each in requests if not each.startswith(("file:", "data:"))]


def text_of(value):
    names = {math.inf: "inf", -math.inf: "-inf"}
    if math.isnan(value):
        return "NaN"
    return names.get(value) or (f"{value:g}" if value or not np.signbit(value) else "-0")


def joined(values):
    return ",".join(map(text_of, values))


def expected_order(values, descending, with_indices):
    """The indices of the sorted row, by the promises of docs/reference/order.md."""
    zeros = [0 if with_indices else -int(np.signbit(x)) for x in values]
    keys = [(math.isnan(x), 0.0 if math.isnan(x) else x, 0 if x else zero)
            for x, zero in zip(values, zeros, strict=True)]  # fmt: skip
    order = sorted(range(len(values)), key=lambda i: keys[i])
    if descending:  # equal elements keep their order
        groups = [list(group) for _, group in itertools.groupby(order, key=lambda i: keys[i])]
        order = [i for group in reversed(groups) for i in group]
    return order


def row_of(text):
    return text.split()


@pytest.mark.parametrize("target", ["cuda", "avx512", "small"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("op", ["sort", "argsort", "top_k", "median"])
def test_result_is_that_of_the_documented_order(open_page, op, descending, target):
    rng = np.random.default_rng(1)
    for values in (SPECIAL, [float(x) for x in rng.integers(0, 6, 37)], [2.0, 1.0]):
        page = open_page(
            n=len(values), k=2, op=op, target=target, values=joined(values),
            order="descending" if descending else "ascending",
        )  # fmt: skip
        order = expected_order(values, descending, op in ("argsort", "top_k"))
        result = page.inner_text("#result")
        if op == "sort":
            assert row_of(result) == [text_of(values[i]) for i in order]
        elif op == "argsort":
            assert row_of(result) == [str(i) for i in order]
        elif op == "top_k":
            wanted = ", ".join(f"{text_of(values[i])} at {i}" for i in order[:2])
            assert row_of(result) == row_of(wanted)
        elif any(map(math.isnan, values)):
            assert result.startswith("NaN")
        else:
            assert float(result) == np.median(values)


def test_values_travel_through_the_steps(open_page):
    page = open_page(n=8, op="sort", target="cuda", values="8,7,6,5,4,3,2,1")
    chips = "#kernel .chip"

    def heights():
        return page.eval_on_selector_all(
            chips, "all => all.map(each => Number(each.style.transform.match(/, ([\\d.]+)px/)[1]))"
        )

    assert heights() == sorted(heights())
    page.click("#last")
    assert heights() == sorted(heights(), reverse=True), "the first value is the largest"
    page.click("#first")
    assert heights() == sorted(heights())
    assert page.is_disabled("#back")


def test_keys_step_and_play(open_page):
    page = open_page(n=8, op="sort", values="8,7,6,5,4,3,2,1")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#status").startswith("Step 1 of 6: 4 comparators between registers")
    page.keyboard.press("End")
    assert page.input_value("#step") == page.get_attribute("#step", "max")
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.wait_for_function("document.getElementById('step').value === '2'")
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "▶ Play"


def test_sliders_change_the_row_and_the_link(open_page):
    page = open_page(n=8, op="top_k", k=3, values="1,2,3,4,5,6,7,8", order="descending")
    assert page.inner_text("#result").startswith("8 at 7")
    page.focus("#k")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#result").count("at") == 4
    page.focus("#n")
    page.keyboard.press("End")
    assert page.inner_text("#n-shown") == "64"
    assert "n=64" in page.url
    assert "k=4" in page.url


def test_link_restores_what_is_shown(open_page):
    first = open_page(n=5, op="argsort", order="descending", target="avx512", values="1,NaN,-0,0,5")
    first.click("#forward")
    state = dict(part.split("=") for part in first.url.partition("#")[2].split("&"))
    second = open_page(**state)
    assert second.url == first.url
    for each in ("#result", "#status", "#counts"):
        assert second.inner_text(each) == first.inner_text(each)


def test_places_are_those_of_the_layout(open_page):
    page = open_page(n=64, target="small")
    for place in ("register", "lane", "warp"):
        assert page.locator(f"#kernel .comparator.{place}").count() > 0
    page.select_option("#target", "avx512")
    assert page.locator("#kernel .comparator.tile").count() > 0
    assert page.locator("#kernel .comparator.warp").count() == 0
    page.click("#forward")
    assert "vpminud" in page.inner_text("#status")


@pytest.mark.parametrize(
    ("n", "op", "needed"),
    [(16, "sort", 60), (8, "sort", 19), (16, "top_k", None), (9, "median", None)],
)
def test_counts_and_proof(open_page, n, op, needed):
    page = open_page(n=n, op=op, k=2, order="descending")
    kernel, bitonic = (row.split("\t") for row in page.inner_text("#counts").split("\n"))
    if needed:
        assert [int(kernel[1]), int(kernel[2])] == [needed, needed]
        assert int(bitonic[1]) > needed
    else:
        assert int(kernel[2]) < int(kernel[1])
        faded = page.locator("#kernel .comparator.unneeded").count()
        assert faded >= int(kernel[1]) - int(kernel[2])
    page.click("#prove")
    page.wait_for_function("document.getElementById('proof').textContent.startsWith('Proved')")
    assert f"all {2**n} rows" in page.inner_text("#proof")


def test_proof_fails_without_any_comparator(open_page):
    """Each of the 19 comparators for 8 values is needed, so that the proof finds every loss."""
    page = open_page(n=8, op="sort", target="cuda")
    names = page.evaluate("kernel.steps.flat().map(each => each.name)")
    assert len(names) == 19
    for name in names:
        page = open_page(n=8, op="sort", target="cuda", removed=name)
        page.click("#prove")
        page.wait_for_function("document.getElementById('proof').textContent.startsWith('Not')")


def test_comparator_of_a_step_is_removed_and_restored(open_page):
    page = open_page(n=8, op="sort", values="8,7,6,5,4,3,2,1")
    page.click("#forward")
    page.click("#remove")
    assert page.locator("#kernel .removed").count() == 1
    assert row_of(page.inner_text("#result")) != list("12345678")
    page.click("#restore")
    assert row_of(page.inner_text("#result")) == list("12345678")


@pytest.mark.parametrize(
    ("text", "problem"), [("1, 2, x", 'got "x"'), ("1", "got 1."), ("1 " * 65, "got 65.")]
)
def test_wrong_row_gets_a_message_and_changes_nothing(open_page, text, problem):
    page = open_page(n=8, values="1,2,3,4,5,6,7,8")
    page.fill("#values", text)
    assert problem in page.inner_text("#problem")
    assert page.inner_text("#n-shown") == "8"
    page.fill("#values", "5 NaN -0 ∞")
    assert page.inner_text("#problem") == ""
    assert row_of(page.inner_text("#result")) == ["-0", "5", "inf", "NaN"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_fits_the_screen_and_the_scheme(open_page, tmp_path, viewport, scheme):
    page = open_page(n=24, op="argsort", viewport=viewport, scheme=scheme)
    page.click("#forward")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    small = page.eval_on_selector_all(
        "button",
        "all => all.map(each => each.getBoundingClientRect()).filter(box => box.height < 40)",
    )
    assert not small, "too small to be touched"


def test_controls_have_names_for_screen_readers(open_page):
    page = open_page(n=8)
    unnamed = page.evaluate("""
        [...document.querySelectorAll("button, input, select, .drawing")].filter((each) => !(
            each.ariaLabel || each.textContent.trim() || each.labels?.[0]?.textContent.trim()
        )).map((each) => each.outerHTML)
    """)
    assert unnamed == []
    assert page.get_attribute("#status", "aria-live") == "polite"


def test_page_around_the_explorer_gives_it_theme_and_state(open_page, site):
    page = open_page(site / "understanding/explorer.html", n=7, op="median", values="3,1,2,9,5,7,4")
    frame = page.frame_locator("iframe.explorer")
    assert frame.locator("#result").inner_text() == "4"
    for theme, background in (("dark", "rgb(19, 20, 22)"), ("light", "rgb(255, 255, 255)")):
        page.evaluate(f"document.body.dataset.theme = '{theme}'")
        frame.locator(f":root[data-theme={theme}]").wait_for()
        body = frame.locator("body")
        assert body.evaluate("each => getComputedStyle(each).backgroundColor") == background
    frame.locator("#forward").click()
    page.wait_for_function("location.hash.includes('step=1')")
    height = frame.locator("html").evaluate("each => each.offsetHeight")
    assert page.locator("iframe.explorer").bounding_box()["height"] >= height
