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
  // A picture is drawn when it comes near the window, so that the page opens at once; what is folded away, when it opens.
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target.querySelector(".live"));
      }
    },
    { rootMargin: "800px" },
  );
  for (const place of document.querySelectorAll("figure .live")) near.observe(place.closest("figure"));

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
