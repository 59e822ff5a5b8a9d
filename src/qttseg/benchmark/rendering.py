"""Tables as text: for the terminal, Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING

from qttseg.benchmark.tables import Cell, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "&": r"\&",
        "%": r"\%",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
)


def to_rich(table: Table) -> RichTable:
    """Return the table for `rich.console.Console.print`; the caption stands below it."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, caption=Text(table.caption), caption_justify="left")
    drawn.add_column(table.corner, vertical="bottom", no_wrap=True)
    for head in table.heads:
        drawn.add_column(f"{head.group}\n{head.title}".strip(), justify="right", vertical="bottom")
    for row in table.rows:
        style = "dim" if row.source == "paper" else ""
        texts = [Text(cell.text, style="bold" if cell.best else "") for cell in row.cells]
        if row.average and row.source == "ours":
            drawn.add_section()
        drawn.add_row(Text(f"  {row.label}" if row.source == "paper" else row.label), *texts, style=style)
    return drawn


def to_markdown(table: Table) -> str:
    """Return a GitHub-flavoured Markdown table with its caption below."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    titles = [head.text for head in table.heads]
    lines = [line([table.corner, *titles]), f"|---|{'---:|' * len(titles)}"]
    for row in table.rows:
        label = f"*{row.label}*" if row.source == "paper" else row.label
        lines.append(line([label, *(_bold(cell, "**", "**") for cell in row.cells)]))
    return "\n".join([*lines, "", table.caption, ""])


def to_latex(table: Table) -> str:
    """Return a LaTeX table (needs the package booktabs), budgets as heads over their columns."""
    heads, rules, position = [""], [], 2
    for group, members in groupby(head.group for head in table.heads):
        width = len(list(members))
        heads.append(rf"\multicolumn{{{width}}}{{c}}{{{_escaped(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{position}-{position + width - 1}}}")
        position += width
    titles = [_escaped(head.title) for head in table.heads]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{l{'r' * len(table.heads)}}}",
        r"\toprule",
        *([" & ".join(heads) + r" \\", " ".join(rules)] if rules else []),
        " & ".join([_escaped(table.corner), *titles]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        if row.average and row.source == "ours":
            lines.append(r"\midrule")
        cells = [_bold(cell, r"\textbf{", "}", escape=_escaped) for cell in row.cells]
        indent = r"\quad " if row.source == "paper" else ""
        lines.append(" & ".join([indent + _escaped(row.label), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_escaped(table.caption)}}}", r"\end{table}", ""]
    return "\n".join(lines)


def to_csv(table: Table) -> str:
    """Return one line for each cell that is not empty, numbers unrounded: for spreadsheets and scripts."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "source", "group", "column", "mean", "std", "note", "best"])
    for row in table.rows:
        for head, cell in zip(table.heads, row.cells, strict=True):
            if cell.mean is not None or cell.note:
                best = "yes" if cell.best else ""
                writer.writerow([row.label, row.source, head.group, head.title, cell.mean, cell.std, cell.note, best])
    return text.getvalue()


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


def _bold(cell: Cell, start: str, end: str, *, escape: Callable[[str], str] = str) -> str:
    if not cell.best:
        return escape(cell.text)
    return " ".join(filter(None, (f"{start}{escape(cell.number)}{end}", escape(cell.note))))
