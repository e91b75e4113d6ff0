// Draws the live pictures over the still ones. Without this file the page is whole: pictures, text and tables.
(() => {
  "use strict";
  if (typeof Plotly === "undefined") return;
  const config = { responsive: true, displaylogo: false, displayModeBar: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const draw = (place) => {
    const picture = place.closest("figure");
    if (picture.classList.contains("drawn")) return;
    picture.classList.add("drawn");
    const { data, layout } = JSON.parse(place.querySelector("script").textContent);
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13 };
    layout.hoverlabel = { align: "left", bgcolor: "#ffffff", bordercolor: "#666666", font: { color: "#1b1b1b" } };
    Plotly.newPlot(place, data, layout, config);
  };
  // What is folded away has no width yet: it is drawn when it opens.
  for (const place of document.querySelectorAll(".live")) if (!place.closest("details:not([open])")) draw(place);
  for (const part of document.querySelectorAll("details"))
    part.addEventListener("toggle", () => part.open && part.querySelectorAll(".live").forEach(draw));

  // What is folded away on the screen belongs on paper.
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open])")) {
      closed.push(part);
      part.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const part of closed.splice(0)) part.open = false;
  });
})();
