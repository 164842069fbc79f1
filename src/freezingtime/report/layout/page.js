// SPDX-License-Identifier: GPL-2.0-or-later
// Values where the pointer is, and one panel, or a part of it, as wide as the page. The page has all
// that it says without this, too.
"use strict";
(() => {
  const runs = JSON.parse(document.getElementById("runs").textContent);
  const said = JSON.parse(document.getElementById("points")?.textContent ?? "[]");
  const tip = document.createElement("div");
  tip.id = "tip";
  document.body.append(tip);
  const add = (parent, tag, text) => {
    const made = parent.appendChild(document.createElement(tag));
    made.textContent = text;
    return made;
  };
  const nearest = (places, place) => {
    let best = 0;
    places.forEach((each, number) => {
      if (Math.abs(each - place) < Math.abs(places[best] - place)) best = number;
    });
    return best;
  };

  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg");
    const panels = JSON.parse(figure.querySelector("script").textContent);
    const whole = svg.getAttribute("viewBox");
    const line = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    const frame = svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
    line.setAttribute("class", "pointer");
    frame.setAttribute("class", "part");
    let start = null;
    let isDrawn = false;

    const at = (event) => new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.getScreenCTM().inverse());
    const panelAt = (x, y) => panels.find(([[left, top, right, bottom]]) =>
      left <= x && x <= right && top <= y && y <= bottom);
    const view = (box) => svg.setAttribute("viewBox", box);
    const hide = () => {
      tip.style.display = "none";
      line.removeAttribute("d");
      frame.removeAttribute("width");
    };

    // The nearest of points: what it says, and a ring around it, or a line through all its places.
    const showPoint = (event, points, x, y) => {
      const away = ([, left, top]) => (left - x) ** 2 + (top - y) ** 2;
      const [number] = points.reduce((a, b) => (away(b) < away(a) ? b : a));
      const places = points.filter((each) => each[0] === number);
      line.setAttribute("d", places.length > 1
        ? `M${places.map(([, left, top]) => `${left} ${top}`).join("L")}`
        : `M${places[0][1] - 5} ${places[0][2]}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0`);
      tip.replaceChildren();
      said[number].forEach((text, row) => add(tip, row ? "div" : "strong", text));
      placeTip(event);
    };
    const show = (event) => {
      const { x, y } = at(event);
      const panel = panelAt(x, y);
      if (panel && panel[5]) return showPoint(event, panel[5], x, y);
      if (!panel || !panel[4].length) return hide();
      const [[left, top, right, bottom], , isVertical, shared, lines] = panel;
      const place = isVertical ? y : x;
      line.setAttribute("d", isVertical ? `M${left} ${y}H${right}` : `M${x} ${top}V${bottom}`);
      const all = lines.map(([color, name, along, values]) => {
        const [places, where] = shared[along];
        const number = nearest(places, place);
        return { color, name, away: Math.abs(places[number] - place), where: where[number],
          value: values[number] };
      });
      const closest = all.reduce((a, b) => (b.away < a.away ? b : a));
      // Not of a run that has ended there.
      const found = all.filter(({ away }) => away <= closest.away + 5)
        .sort((a, b) => a.color - b.color);
      tip.replaceChildren();
      add(tip, "strong", closest.where);
      for (const { color, name, value } of found) {
        const row = add(tip, "div", "");
        if (color >= 0) add(row, "span", "").style.background = `var(--series-${color})`;
        const run = runs.length > 1 && color >= 0 ? runs[color] : "";
        row.append([[run, name].filter(Boolean).join(" "), value].filter(Boolean).join(": "));
      }
      placeTip(event);
    };
    const placeTip = (event) => {
      tip.style.display = "block";
      const beside = event.clientX + 16 + tip.offsetWidth > document.documentElement.clientWidth;
      tip.style.left = `${Math.max(0, event.clientX + (beside ? -16 - tip.offsetWidth : 16))}px`;
      tip.style.top = `${event.clientY + 16}px`;
    };
    const part = (event) => {
      const { x, y } = at(event);
      return [Math.min(x, start.x), Math.min(y, start.y), Math.abs(x - start.x),
        Math.abs(y - start.y)];
    };

    svg.addEventListener("pointermove", (event) => {
      show(event);
      if (!start) return;
      const [x, y, width, height] = part(event);
      Object.entries({ x, y, width, height }).forEach(([key, value]) => frame.setAttribute(key, value));
    });
    svg.addEventListener("pointerleave", () => { hide(); start = null; });
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return show(event);
      const { x, y } = at(event);
      start = panelAt(x, y) ? { x, y } : null;
      isDrawn = false;
    });
    // A link is followed, unless a part was drawn that begins and ends on it.
    svg.addEventListener("dragstart", (event) => event.preventDefault());
    svg.addEventListener("click", (event) => { if (isDrawn) event.preventDefault(); });
    svg.addEventListener("pointerup", (event) => {
      if (!start) return;
      const [x, y, width, height] = part(event);
      const panel = panelAt(start.x, start.y);
      start = null;
      hide();
      isDrawn = width > 12 && height > 12;
      if (isDrawn) return view(`${x} ${y} ${width} ${height}`);
      if (event.target.closest("a")) return;
      view(svg.getAttribute("viewBox") === whole && panels.length > 1 ? panel[1].join(" ") : whole);
    });
    addEventListener("keydown", (event) => { if (event.key === "Escape") { view(whole); hide(); } });
    addEventListener("beforeprint", () => { view(whole); hide(); });
  }
})();
