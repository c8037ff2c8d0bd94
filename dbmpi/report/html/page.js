// Draws the page's charts from the numbers in the element `data`; needs uPlot, and nothing from outside.
(function () {
  "use strict";
  const page = JSON.parse(document.getElementById("data").textContent);
  const kept = history.state || {}; // what the page looked like before it read itself again
  const choice = { axis: kept.axis in page.axes ? kept.axis : Object.keys(page.axes)[0], log: !!kept.log, zoom: kept.zoom || null, off: kept.off || {} };
  const made = new Map(); // figure -> chart
  const HEIGHT = 250;
  const EVENTS = { death: "--bad", silence: "--bad", signal: "--warning", learning: "--warning", output: "--warning", resume: "--note" };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const inkOf = (curve) => colour("--c" + (curve.colour % 8));

  function brief(value) {
    if (value == null || !isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(1);
    for (const [least, sign] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]])
      if (size >= least) return String(Number((value / (least === 1e4 ? 1e3 : least)).toPrecision(4))) + sign;
    return String(Number(value.toPrecision(4)));
  }

  const placesOf = (frame, chart) => (chart.own ? frame.x.own : frame.x[choice.axis]) || [];
  const framesOf = (chart) => chart.frames.filter((frame) => placesOf(frame, chart).some((x) => x !== null));

  // A gap takes in what is unknown beside it: a replica that had died ends where it did.
  function widened(values) {
    for (let i = 1; i < values.length; i++) if (values[i] === undefined && values[i - 1] === null) values[i] = null;
    for (let i = values.length - 2; i >= 0; i--) if (values[i] === undefined && values[i + 1] === null) values[i] = null;
    return values;
  }

  // One table for uPlot: x ascending, undefined where a frame has no record, null where a job ends.
  function tableOf(frame, chart) {
    const x = placesOf(frame, chart), gaps = new Set(frame.gaps), rows = [];
    x.forEach((at, i) => {
      if (at === null) return;
      if (gaps.has(i) && i && x[i - 1] !== null) rows.push([(x[i - 1] + at) / 2, null]);
      rows.push([at, i]);
    });
    rows.sort((one, other) => one[0] - other[0]);
    const value = (y, i) => (i === null ? null : y[i] === null || (choice.log && chart.log && y[i] <= 0) ? undefined : y[i]);
    const columns = frame.curves.map((curve) => widened(rows.map((row) => value(curve.y, row[1]))));
    return [rows.map((row) => row[0]), ...columns];
  }

  function dataOf(chart) {
    const tables = framesOf(chart).map((frame) => tableOf(frame, chart));
    if (!tables.length) return null;
    const joined = tables.length > 1 ? uPlot.join(tables, tables.map((table) => table.map(() => 2))) : tables[0];
    if (!chart.stacked) return { drawn: joined, said: joined };
    const sums = [joined[0]];
    joined.slice(1).forEach((y, n) => sums.push(y.map((value, i) => (value == null ? value : value + (n ? sums[n][i] || 0 : 0)))));
    return { drawn: sums, said: joined };
  }

  function seriesOf(curve, chart, count) {
    const ink = inkOf(curve), faded = curve.style === "faded";
    const series = { label: curve.name, stroke: ink, width: chart.stacked ? 1 : 1.75, alpha: faded ? 0.4 : 1 };
    if (chart.stacked) return Object.assign(series, { fill: ink, points: { show: false } });
    if (curve.style === "dashed") series.dash = [6, 4];
    if (curve.style === "dots") series.paths = () => null;
    const few = curve.y.filter((value) => value !== null).length <= 60;
    series.points = { show: few || curve.style === "dots", size: curve.style === "dots" ? 6 : 4, fill: ink, stroke: ink };
    return series;
  }

  function marksOn(u, chart) {
    const context = u.ctx, ratio = uPlot.pxRatio, top = u.bbox.top;
    let last = -Infinity;
    context.save();
    context.beginPath();
    context.rect(u.bbox.left, 0, u.bbox.width, top + u.bbox.height);
    context.clip();
    context.font = 10 * ratio + "px system-ui, sans-serif";
    context.textAlign = "center";
    for (const mark of chart.marks) {
      const at = chart.own ? null : mark.x[choice.axis];
      if (at == null) continue;
      const x = Math.round(u.valToPos(at, "x", true));
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      context.strokeStyle = context.fillStyle = colour(EVENTS[mark.about] || "--soft");
      context.lineWidth = ratio;
      context.setLineDash([3 * ratio, 3 * ratio]);
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x, top + u.bbox.height);
      context.stroke();
      if (x - last > 18 * ratio) {
        const inside = Math.min(Math.max(x, u.bbox.left + 7 * ratio), u.bbox.left + u.bbox.width - 7 * ratio);
        context.fillText(String(mark.number), inside, top - 4 * ratio);
        last = x;
      }
    }
    context.restore();
  }

  function axesOf(chart) {
    const ink = colour("--soft"), grid = { stroke: colour("--line"), width: 1 };
    const font = "11px system-ui, sans-serif";
    const common = { stroke: ink, grid: grid, ticks: grid, font: font, labelFont: font };
    const wide = (u, values) => Math.max(36, 16 + 7 * Math.max(0, ...(values || []).map((one) => (one || "").length)));
    const shown = (u, values) => values.map((one) => (one === null ? "" : brief(one)));
    const name = chart.own ? chart.own : page.axes[choice.axis];
    return [
      Object.assign({ label: name, labelSize: 18, size: 28, space: 60, values: shown }, common),
      Object.assign({ size: wide, values: shown }, common),
    ];
  }

  function optionsOf(chart, curves, table, width, told) {
    const bands = chart.stacked ? curves.slice(1).map((curve, n) => ({ series: [n + 2, n + 1], fill: inkOf(curve) })) : [];
    const logarithmic = choice.log && chart.log;
    const scales = { x: { time: false }, y: logarithmic ? { distr: 3 } : {} };
    if (chart.stacked || chart.zero) {
      const limit = chart.stacked ? 4 * high(table[table.length - 1]) : Infinity;
      scales.y.range = (u, least, most) => [0, most > 0 ? Math.min(most, limit || most) * 1.05 : 1];
    }
    if (table[0].length < 2 || table[0][0] === table[0][table[0].length - 1])
      scales.x.range = () => [table[0][0] / 2, table[0][0] * 1.5 || 1];
    return {
      width: width, height: HEIGHT, padding: [16, 12, 0, 0], scales: scales, axes: axesOf(chart), bands: bands,
      legend: { show: false },
      cursor: { y: false, sync: chart.own ? undefined : { key: "axis" }, points: { size: 6 } },
      series: [{}, ...curves.map((curve) => seriesOf(curve, chart, curves.length))],
      hooks: { draw: [(u) => marksOn(u, chart)], setCursor: [told], setScale: [zoomed(chart)] },
    };
  }

  // A zoom that was drawn with the pointer is kept; one that shows everything is none.
  function zoomed(chart) {
    return (u, key) => {
      if (chart.own || key !== "x" || u.status !== 1) return;
      const x = u.data[0], scale = u.scales.x;
      const whole = scale.min <= x[0] && scale.max >= x[x.length - 1];
      choice.zoom = whole ? null : { min: scale.min, max: scale.max };
    };
  }

  function legendOf(figure, chart, curves, said) {
    const box = figure.querySelector(".legend"), spans = [];
    box.textContent = "";
    curves.forEach((curve, n) => {
      const button = document.createElement("button"), line = document.createElement("i"), value = document.createElement("span");
      const key = figure.dataset.chart + ":" + curve.name;
      button.type = "button";
      line.className = curve.style;
      line.style.borderColor = inkOf(curve);
      button.append(line, curve.name, value);
      button.setAttribute("aria-pressed", String(!choice.off[key]));
      button.addEventListener("click", () => {
        choice.off[key] = !choice.off[key];
        button.setAttribute("aria-pressed", String(!choice.off[key]));
        made.get(figure).setSeries(n + 1, { show: !choice.off[key] });
      });
      box.append(button);
      spans.push(value);
    });
    return (index) => spans.forEach((span, n) => { span.textContent = brief(near(said[n + 1], index)); });
  }

  // What nine tenths of the values are at most: one that is far above them leaves the chart.
  function high(values) {
    const sorted = values.filter((value) => value != null).sort((one, other) => one - other);
    return sorted[Math.floor(0.9 * (sorted.length - 1))];
  }

  // The last value at or before an index.
  function near(values, index) {
    for (let i = index == null ? values.length - 1 : index; i >= 0; i--) if (values[i] != null) return values[i];
    return null;
  }

  function draw(figure) {
    const chart = page.charts[Number(figure.dataset.chart)], plot = figure.querySelector(".plot");
    const width = Math.floor(plot.clientWidth);
    if (made.has(figure)) made.get(figure).destroy();
    made.delete(figure);
    const found = width > 0 ? dataOf(chart) : null;
    if (!found) return;
    const curves = framesOf(chart).flatMap((frame) => frame.curves);
    const show = legendOf(figure, chart, curves, found.said);
    const drawn = new uPlot(optionsOf(chart, curves, found.drawn, width, (u) => show(u.cursor.idx)), found.drawn, plot);
    made.set(figure, drawn);
    show(null);
    const most = Math.max(...found.drawn[found.drawn.length - 1].filter((value) => value != null));
    const above = chart.stacked && most > drawn.scales.y.max ? ", up to " + brief(most) + " above the chart" : "";
    figure.querySelector(".unit").textContent = chart.unit + above;
    curves.forEach((curve, n) => { if (choice.off[figure.dataset.chart + ":" + curve.name]) drawn.setSeries(n + 1, { show: false }); });
    if (choice.zoom && !chart.own) drawn.setScale("x", choice.zoom);
  }

  const figures = () => document.querySelectorAll("figure[data-chart]");
  const seen = (figure) => figure.querySelector(".plot").clientWidth > 0;
  const drawAll = () => figures().forEach((figure) => { if (seen(figure)) draw(figure); });

  function switches() {
    const form = document.querySelector(".switch");
    if (!form) return;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelectorAll("input[name=axis]").forEach((input) => {
      input.checked = input.value === choice.axis;
      input.addEventListener("change", () => { choice.axis = input.value; choice.zoom = null; drawAll(); });
    });
    const log = form.querySelector("#log");
    log.checked = choice.log;
    log.addEventListener("change", () => { choice.log = log.checked; drawAll(); });
  }

  function matrices() {
    document.querySelectorAll("svg[data-matrix]").forEach((svg) => {
      const matrix = page.matrices[Number(svg.dataset.matrix)], [left, top, side] = svg.dataset.place.split(" ").map(Number);
      const readout = svg.closest("figure").querySelector(".readout"), first = readout.textContent;
      const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      let at = null;
      function go(row, column) {
        if (row < 0 || column < 0 || row >= matrix.rows.length || column >= matrix.columns.length) return;
        at = [row, column];
        const words = { row: matrix.rows[row], column: matrix.columns[column], value: brief(matrix.values[row][column]) };
        readout.textContent = matrix.reading.replace(/\{(row|column|value)\}/g, (all, name) => words[name]);
        for (const [name, value] of [["class", "at"], ["x", left + column * side], ["y", top + row * side], ["width", side], ["height", side]])
          box.setAttribute(name, value);
        svg.append(box);
      }
      svg.addEventListener("mousemove", (event) => {
        const place = svg.getBoundingClientRect();
        go(Math.floor((event.clientY - place.top - top) / side), Math.floor((event.clientX - place.left - left) / side));
      });
      svg.addEventListener("mouseleave", () => { readout.textContent = first; box.remove(); });
      svg.addEventListener("keydown", (event) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        if (at) go(at[0] + step[0], at[1] + step[1]);
        else go(0, 0);
      });
    });
  }

  // A page of a run that goes on reads itself again, and looks as it did before.
  function remember() {
    const sections = [...document.querySelectorAll("main section")];
    const near = sections.filter((one) => one.getBoundingClientRect().top < 100 && one.offsetParent).pop();
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    const place = near ? { id: near.id, top: near.getBoundingClientRect().top } : { id: "", top: -window.scrollY };
    history.replaceState(Object.assign({}, choice, { open: open, place: place }), "");
  }

  function recall() {
    (kept.open || []).forEach((open, i) => { const one = document.querySelectorAll("details")[i]; if (one) one.open = open; });
    drawAll();
    if (!kept.place) return;
    const section = kept.place.id && document.getElementById(kept.place.id);
    const now = section ? section.getBoundingClientRect().top : -window.scrollY;
    window.scrollBy(0, now - kept.place.top);
  }

  function watch() {
    if (!page.reload) return;
    history.scrollRestoration = "manual";
    setTimeout(function again() {
      if (document.hidden) return setTimeout(again, 1000);
      remember();
      location.reload();
    }, 1000 * page.reload);
  }

  switches();
  recall();
  matrices();
  watch();
  document.addEventListener("toggle", (event) => {
    event.target.querySelectorAll("figure[data-chart]").forEach((figure) => { if (seen(figure) && !made.has(figure)) draw(figure); });
  }, true);
  let width = document.body.clientWidth, timer = 0;
  window.addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; drawAll(); } }, 100);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
})();
