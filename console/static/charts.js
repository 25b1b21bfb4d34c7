// Draws each chart from the data beside it, in the page's colours. Without it the tables say the same.
"use strict";

(() => {
  const CONFIG = { displayModeBar: false, responsive: true, showTips: false };

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      ink: of("--ink"),
      soft: of("--soft"),
      line: of("--line"),
      card: of("--card"),
      series: [1, 2, 3, 4, 5, 6, 7, 8].map((one) => of(`--series-${one}`)),
    };
  };

  // What lies along the x axis: one place has no line, and a few days are drawn as names, or hours would stand between them.
  const axis = (data) => {
    const days = data.dates && data.x.every((one) => one.length === 10);
    const months = days && data.x.length > 1 && data.x.every((one) => one.endsWith("-01"));
    const alone = data.x.length === 1;
    return { alone, days, months, named: !data.dates || alone || (days && !months && data.x.length <= 7) };
  };

  // Without the places at both ends at which there is nothing to draw.
  const trimmed = (data) => {
    const filled = data.x.map((_, at) => data.series.some((one) => one.y[at] !== null));
    const [from, to] = [filled.indexOf(true), filled.lastIndexOf(true) + 1];
    return { ...data, x: data.x.slice(from, to), series: data.series.map((one) => ({ ...one, y: one.y.slice(from, to) })) };
  };

  const most = (data) => data.x.reduce((top, _, at) => {
    return Math.max(top, data.series.reduce((sum, one) => sum + Math.abs(Number(one.y[at])), 0));
  }, 0);

  const shown = (one) => one.slice(0, 16).replace("T", " ");

  const traces = (data, colour) => data.series.map((series, index) => {
    const { alone, named } = axis(data);
    const shade = colour.series[index % colour.series.length];
    const trace = {
      name: series.name,
      x: named && data.dates ? data.x.map(shown) : data.x,
      y: series.y,
      hovertemplate: `%{x}<br>%{fullData.name}: %{y}${data.unit ? ` ${data.unit}` : ""}<extra></extra>`,
      marker: { color: shade },
      line: { color: shade, width: 2 },
    };
    if (alone) return { ...trace, type: "bar" };
    if (data.kind === "area") return { ...trace, type: "scatter", mode: "lines", stackgroup: "all" };
    if (data.kind === "line" || series.line) return { ...trace, type: "scatter", mode: "lines+markers", connectgaps: false };
    return { ...trace, type: "bar" };
  });

  const layout = (data, colour, { alone, days, months, named } = axis(data)) => ({
    autosize: true,
    height: 300,
    margin: { l: 56, r: 8, t: 8, b: 32 },
    paper_bgcolor: colour.card,
    plot_bgcolor: colour.card,
    font: { family: "system-ui, sans-serif", size: 12, color: colour.soft },
    barmode: data.kind === "stack" || data.kind === "area" ? "relative" : "group",
    bargap: 0.3,
    barcornerradius: 2,
    hoverlabel: { bgcolor: colour.card, bordercolor: colour.line, font: { color: colour.ink } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: colour.ink } },
    showlegend: data.series.length > 1,
    xaxis: {
      hoverformat: months ? "%B %Y" : days ? "%Y-%m-%d" : undefined,
      tickformat: months ? "%b %Y" : undefined,
      // One bar alone is no wider than one of several.
      range: alone ? [-2.5, 2.5] : undefined,
      type: named ? "category" : "date", showgrid: false, linecolor: colour.line, automargin: true,
    },
    yaxis: {
      // Of few customers there are no halves.
      dtick: !data.unit && most(data) <= 5 ? 1 : undefined,
      type: "linear", rangemode: "tozero", gridcolor: colour.line, zerolinecolor: colour.line, tickformat: ",~f", automargin: true,
      title: { text: data.unit, standoff: 8, font: { size: 12 } },
    },
  });

  const draw = () => {
    const colour = colours();
    document.querySelectorAll("[data-chart]").forEach((figure) => {
      const place = figure.querySelector(".chart");
      const data = trimmed(JSON.parse(figure.querySelector("script[type='application/json']").textContent));
      place.hidden = false;
      Plotly.react(place, traces(data, colour), layout(data, colour), CONFIG).then(() => {
        figure.dataset.drawn = "yes";
      });
    });
  };

  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new MutationObserver(draw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
