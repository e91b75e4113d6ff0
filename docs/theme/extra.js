// Wide tables scroll inside their frame. Make the frames reachable by the keyboard, too.
window.addEventListener("load", () => {
  for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) {
    frame.tabIndex = 0
    frame.setAttribute("role", "region")
    frame.setAttribute("aria-label", "table")
  }
})
