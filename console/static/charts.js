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

  const traces = (data, colour) => data.series.map((series, index) => {
    const shade = colour.series[index % colour.series.length];
    const trace = {
      name: series.name,
      x: data.x,
      y: series.y,
      hovertemplate: `%{x}<br>%{fullData.name}: %{y}${data.unit ? ` ${data.unit}` : ""}<extra></extra>`,
      marker: { color: shade },
      line: { color: shade, width: 2 },
    };
    if (data.kind === "area") return { ...trace, type: "scatter", mode: "lines", stackgroup: "all" };
    if (data.kind === "line" || series.line) return { ...trace, type: "scatter", mode: "lines+markers", connectgaps: false };
    return { ...trace, type: "bar" };
  });

  const layout = (data, colour) => ({
    autosize: true,
    height: 320,
    margin: { l: 64, r: 16, t: 8, b: 48 },
    paper_bgcolor: colour.card,
    plot_bgcolor: colour.card,
    font: { family: "system-ui, sans-serif", size: 13, color: colour.soft },
    barmode: data.kind === "stack" ? "relative" : "group",
    hoverlabel: { bgcolor: colour.card, bordercolor: colour.line, font: { color: colour.ink } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: colour.ink } },
    showlegend: data.series.length > 1,
    xaxis: {
      hoverformat: data.dates && data.x.every((one) => one.length === 10) ? "%Y-%m-%d" : undefined,
      type: data.dates ? "date" : "category", gridcolor: colour.line, linecolor: colour.line, automargin: true,
    },
    yaxis: {
      type: "linear", rangemode: "tozero", gridcolor: colour.line, zerolinecolor: colour.line, tickformat: ",~f", automargin: true,
      title: { text: data.unit },
    },
  });

  const draw = () => {
    const colour = colours();
    document.querySelectorAll("[data-chart]").forEach((figure) => {
      const place = figure.querySelector(".chart");
      const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
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
