// One place where drawing waits for the next frame: however often something changes between two frames, it is
// drawn once. A hidden tab has no frames, so it draws nothing and nothing piles up.

const waiting = new Set();

/** Calls `draw` at the next frame, once. */
export function atNextFrame(draw) {
  if (waiting.size === 0) requestAnimationFrame(drawAll);
  waiting.add(draw);
}

function drawAll(now) {
  const due = [...waiting];
  waiting.clear();
  for (const draw of due) {
    // One that fails is told of; the others are drawn nevertheless.
    try {
      draw(now);
    } catch (error) {
      reportError(error);
    }
  }
}
