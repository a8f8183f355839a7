// The last runs of a pipeline as bars: height is the duration, colour and shape the outcome.

import { html, pure } from '../html.js';
import { duration, plural, toMs, when } from '../format.js';
import { RUN, hasFailed, isOpen } from '../status.js';

const COUNT = 30;
const STEP = 10;
const WIDTH = 7;

/** Return the seconds that a run took, or has taken so far. */
export function secondsOf(run, now = Date.now()) {
  if (typeof run.duration_seconds === 'number' && run.ended_at) return run.duration_seconds;
  const end = run.ended_at ? toMs(run.ended_at) : now;
  return (end - toMs(run.started_at ?? run.created_at)) / 1000;
}

/** `runs`: newest first. `height`: of the tallest bar. */
export const Bars = pure(({ runs, expected, height = 44, count = COUNT }) => {
  const shown = runs.slice(0, count).reverse();
  const seconds = shown.map((run) => secondsOf(run));
  const most = Math.max(1, expected ?? 0, ...seconds);
  const scale = (value) => Math.max(3, (value / most) * height);
  const first = count - shown.length;
  const width = count * STEP - (STEP - WIDTH);
  const line = expected ? height - scale(expected) + 0.5 : null;
  const clicked = (event) => {
    const id = event.target.closest('[data-run]')?.dataset.run;
    if (id) location.hash = `#/runs/${id}`;
  };
  return html`<svg class="bars" viewBox=${`0 0 ${width} ${height + 7}`} role="img" aria-label=${summary(shown, expected)}
      preserveAspectRatio="none" onClick=${clicked}>
    ${Array.from({ length: first }, (_, at) => html`<rect key=${`none${at}`} class="bar-none" x=${at * STEP} y=${height - 2} width=${WIDTH} height="2" rx="1" />`)}
    ${shown.map((run, at) => {
      const x = (first + at) * STEP, tall = scale(seconds[at]), is = RUN[run.status];
      return html`<g key=${run.run_id} class=${`bar tone-${is.tone}`} data-run=${run.run_id}>
        <title>${is.label}, ${when(run.created_at)}, ${duration(seconds[at])}${run.error ? `: ${run.error}` : ''}</title>
        <rect class="bar-space" x=${x - 1.5} y="0" width=${STEP} height=${height + 7} />
        <rect class="bar-fill" x=${x} y=${height - tall} width=${WIDTH} height=${tall} rx="1.500" />
        ${hasFailed(run.status) && html`<path class="bar-cross" d=${`M${x + 1} ${height + 2}l5 5m0 -5l-5 5`} />`}
        ${run.status === 'ABORTED' && html`<path class="bar-cross" d=${`M${x + 1} ${height + 4.5}h5`} />`}
      </g>`;
    })}
    ${line !== null && html`<line class="bar-expected" x1="0" x2=${width} y1=${line} y2=${line}><title>Expected: ${duration(expected)}</title></line>`}
  </svg>`;
});

function summary(runs, expected) {
  if (runs.length === 0) return 'No runs yet';
  const counts = new Map();
  for (const run of runs) counts.set(RUN[run.status].label, (counts.get(RUN[run.status].label) ?? 0) + 1);
  const parts = [...counts].map(([label, count]) => `${count} ${label.toLowerCase()}`);
  const usual = expected ? `; expected duration ${duration(expected)}` : '';
  return `Last ${plural(runs.length, 'run')}: ${parts.join(', ')}${usual}`;
}

export { isOpen };
