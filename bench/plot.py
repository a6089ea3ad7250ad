"""The plot: CPU time of a request, a panel for each case, a bar for each entrant. Plain SVG."""

from xml.sax.saxutils import escape

WIDTH, LABEL, ROW, GAP, TOP = 860, 150, 20, 46, 56
COLOURS = {
    "proxyd": "#c2410c",
    "nginx": "#15803d",
    "haproxy": "#1d4ed8",
    "pingora": "#7e22ce",
    "envoy": "#be185d",
    "caddy": "#0e7490",
}


def draw(cases: dict) -> str:
    """The picture, as text."""
    parts, at = [], TOP
    for name, case in cases.items():
        entrants = case["entrants"]
        longest = max((found["us_most"] for found in entrants.values()), default=1.0)
        scale = (WIDTH - LABEL - 110) / longest
        parts.append(f'<text x="16" y="{at}" class="case">{escape(name)}</text>')
        parts.append(f'<text x="{LABEL}" y="{at}" class="title">{escape(case["title"])}</text>')
        at += 10
        for label, found in entrants.items():
            parts.append(_bar(label, found, at, scale))
            at += ROW
        at += GAP - 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {at}" width="{WIDTH}" height="{at}" role="img" '
        'aria-label="CPU time of a request, by case and proxy">\n'
        "<style>text{font:12px system-ui,sans-serif;fill:#1f2937}.case{font-weight:700}.title{fill:#6b7280}"
        ".top{font-size:15px;font-weight:700}.range{stroke:#111827;stroke-width:1}</style>\n"
        f'<rect width="{WIDTH}" height="{at}" fill="#ffffff"/>\n'
        '<text x="16" y="26" class="top">CPU µs per request: median, and the range of the samples in use (less is better)</text>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _bar(label: str, found: dict, at: int, scale: float) -> str:
    peer = label.replace("-line", "").split()[0]
    middle = at + ROW / 2
    left, right = LABEL + found["us_least"] * scale, LABEL + found["us_most"] * scale
    length = found["us"] * scale
    pale = "" if found["settled"] else ' opacity="0.55"'
    mark = "" if found["settled"] else " ¹"
    return (
        f'<text x="{LABEL - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{LABEL}" y="{at + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{COLOURS.get(peer, "#6b7280")}"{pale}/>'
        f'<line x1="{left:.1f}" y1="{middle}" x2="{right:.1f}" y2="{middle}" class="range"/>'
        f'<text x="{max(right, LABEL + length) + 6:.1f}" y="{middle + 4:.0f}">{found["us"]:.1f}{mark}</text>'
    )
