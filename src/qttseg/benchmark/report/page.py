"""The page itself: one HTML file that holds its style, its program, its data and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from qttseg import __version__
from qttseg.benchmark.gallery import EXAMPLES, Gallery
from qttseg.benchmark.results import Result
from qttseg.benchmark.tables import comparable
from qttseg.errors import BenchmarkError


def report_page(results: Sequence[Result], *, gallery: Gallery, examples: int = EXAMPLES) -> str:
    """Return the HTML page of `results`; those of each protocol and backbone in a section of their own.

    It asks the network for nothing: the charts' program is Vega-Lite as bundled by vl-convert, 0.9 MB.

    Args:
        results: At least one.
        gallery: Where their pictures are.
        examples: Most test images shown of each dataset.

    Raises:
        BenchmarkError: there are no results.
    """
    if not results:
        raise BenchmarkError("there are no results to report; run the benchmark first")
    import vl_convert
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from qttseg.benchmark.report.sections import section_of

    environment = Environment(
        loader=PackageLoader("qttseg.benchmark.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    here = files("qttseg.benchmark.report")
    return environment.get_template("page.html.j2").render(
        version=__version__,
        sections=[
            section_of(group, gallery, place=place, examples=examples)
            for place, group in enumerate(comparable(results))
        ],
        style=(here / "page.css").read_text(encoding="utf-8"),
        program=(here / "page.js").read_text(encoding="utf-8"),
        charting=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"),
    )
