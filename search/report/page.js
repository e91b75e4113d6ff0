// Draws the live pictures over the still ones. Without this file the page is whole: pictures, text and tables.
(() => {
  "use strict";
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

  const packed = document.getElementById("plotly");
  if (!packed || typeof DecompressionStream === "undefined") return;
  // The library is run when the page is there, because this takes longer than everything else.
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(packed.textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };
  let library;
  const config = { responsive: true, displaylogo: false, displayModeBar: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const draw = async (place) => {
    await (library ??= unpack());
    const { data, layout } = JSON.parse(place.querySelector("script").textContent);
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13 };
    layout.hoverlabel = { align: "left", bgcolor: "#ffffff", bordercolor: "#666666", font: { color: "#1b1b1b" } };
    place.closest("figure").classList.add("drawn");
    Plotly.newPlot(place, data, layout, config);
  };
  // A picture is drawn when it comes near the window; one that is folded away, when it is opened.
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target.querySelector(".live"));
      }
    },
    { rootMargin: "800px" },
  );
  const start = () => document.querySelectorAll("figure .live").forEach((place) => near.observe(place.closest("figure")));
  if (document.readyState === "complete") start();
  else addEventListener("load", start);
})();
