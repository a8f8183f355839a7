// Overview: a card per pipeline.

import { html, pure, useMemo, useState } from '../html.js';
import { entry, loadPipelines, loadSchedules, nextSchedule } from '../data.js';
import { brief, number, plural } from '../format.js';
import { useLive } from '../live.js';
import { StartDialog } from '../parts/actions.js';
import { Bars, secondsOf } from '../parts/bars.js';
import { Badge, Button, Empty, Icon, Problem, Skeleton, Time } from '../parts/basics.js';
import { FRESHNESS, RUN, hasFailed, pipelineState } from '../status.js';

export const LIVE = 5_000;
export const CALM = 15_000;
/** Pipelines of one request: with more of them, the page loads less often. */
const PAGE = 50;

const lastEnded = (details) => details.runs?.find((run) => run.ended_at);
const FILTERS = [
  ['all', 'All', () => true],
  ['invalid', 'Invalid', (one) => Boolean(one.invalid)],
  ['stale', 'Stale', (one) => one.freshness?.state === 'STALE'],
  ['risk', 'At risk', (one) => one.freshness?.state === 'AT_RISK'],
  ['failed', 'Failed', (one) => hasFailed(lastEnded(one)?.status)],
  ['running', 'Running', (one) => Boolean(one.active_run)],
  ['waiting', 'Pending', (one) => Boolean(one.waiting)],
  ['paused', 'Paused', (one) => one.paused],
];
const ORDERS = {
  attention: ['What needs attention', (one) => [urgency(one), one.pipeline]],
  name: ['Name', (one) => [0, one.pipeline]],
  recent: ['Last run', (one) => [-Date.parse(one.runs?.[0]?.created_at ?? 0), one.pipeline]],
};

function urgency(one) {
  if (one.invalid) return 0;
  if (one.freshness?.state === 'STALE') return 1;
  if (hasFailed(lastEnded(one)?.status)) return 2;
  if (one.freshness?.state === 'AT_RISK') return 3;
  if (one.active_run) return 4;
  return one.paused ? 5 : 6;
}

const compare = (key) => (a, b) => {
  const [first, second] = [key(a), key(b)];
  const at = first.findIndex((value, index) => value !== second[index]);
  return at < 0 ? 0 : first[at] < second[at] ? -1 : 1;
};

export function Overview() {
  const pipelines = useLive('pipelines', () => loadPipelines(30), (all) => Math.max(1, all.length / PAGE) * (all.some((one) => one.active_run) ? LIVE : CALM));
  const schedules = useLive('schedules', loadSchedules, () => 60_000, { optional: true });
  const [search, setSearch] = useState('');
  const [filter, setFilter] = useState('all');
  const [order, setOrder] = useState('attention');
  const [starting, setStarting] = useState(null);
  const all = pipelines.data;
  const shown = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const keep = FILTERS.find(([name]) => name === filter)[2];
    return (all ?? []).filter((one) => keep(one) && words.every((word) => one.pipeline.toLowerCase().includes(word))).sort(compare(ORDERS[order][1]));
  }, [all, search, filter, order]);
  return html`
    <div class="heading"><h1 tabindex="-1">Pipelines</h1>${all && html`<p class="muted summary">${summary(all)}</p>`}</div>
    <div class="tools">
      <label class="search"><${Icon} name="search" /><span class="sr">Search pipelines</span>
        <input type="search" placeholder="Search" value=${search} onInput=${(event) => setSearch(event.target.value)} /></label>
      <div class="chips" role="group" aria-label="Filter">
        ${FILTERS.map(([name, label, keep]) => {
          const count = all?.filter(keep).length;
          return html`<button type="button" class="chip" aria-pressed=${filter === name} disabled=${!count && filter !== name} onClick=${() => setFilter(name)}>${label} ${all && html`<span class="count">${number(count)}</span>`}</button>`;
        })}</div>
      <label class="order"><span class="muted">Sort</span>
        <select value=${order} onChange=${(event) => setOrder(event.target.value)}>${Object.entries(ORDERS).map(([name, [label]]) => html`<option value=${name}>${label}</option>`)}</select></label>
    </div>
    ${pipelines.error && !all && html`<${Problem} error=${pipelines.error} />`}
    ${!all && !pipelines.error && html`<${Skeleton} rows=${4} />`}
    ${all && all.length === 0 && html`<${Empty} title="No pipelines yet">Write a file <code>pipelines/NAME.yaml</code>, then <code>refresh push DIR</code>.<//>`}
    ${all && all.length > 0 && shown.length === 0 && html`<${Empty} title="No pipeline matches">Change the search or the filter.<//>`}
    <p class="sr" role="status">${all && (search || filter !== 'all') ? `${plural(shown.length, 'pipeline')} shown` : ''}</p>
    <ul class="cards">${shown.map((one) => html`<${Card} key=${one.pipeline} details=${one} schedules=${entry(schedules.data, one.pipeline)} canSchedule=${!schedules.error} onStart=${setStarting} />`)}</ul>
    ${starting && html`<${StartDialog} pipeline=${starting} details=${all.find((one) => one.pipeline === starting) ?? {}} onClose=${() => setStarting(null)} onDone=${pipelines.refresh} />`}`;
}

function summary(all) {
  const stale = all.filter((one) => one.freshness?.state === 'STALE').length;
  const failed = all.filter((one) => hasFailed(lastEnded(one)?.status)).length;
  const risky = all.filter((one) => one.freshness?.state === 'AT_RISK').length;
  const invalid = all.filter((one) => one.invalid).length;
  const unproven = all.filter((one) => !one.invalid && !one.freshness && !one.last_success).length;
  const parts = [
    stale && `${plural(stale, 'pipeline')} stale`, failed && `${failed} with a failed last run`, risky && `${risky} at risk`,
    invalid && `${invalid} with an invalid definition`, unproven && `${unproven} without a success yet`,
  ].filter(Boolean);
  return parts.length ? parts.join(', ') : `All ${plural(all.length, 'pipeline')} fine`;
}

const Card = pure(({ details, schedules, canSchedule, onStart }) => {
  const { pipeline, runs = [], freshness, expected_seconds: expected } = details;
  const last = runs[0];
  return html`<li class="card">
    <div class="card-head">
      <h2><a href=${`#/pipelines/${pipeline}`}>${pipeline}</a></h2>
      <${Badge} is=${pipelineState(details)} />
      <button type="button" class="icon-button small" onClick=${() => onStart(pipeline)} aria-label=${`Start ${pipeline}`} title="Start a run"><${Icon} name="play" /></button>
    </div>
    ${details.invalid ? html`<p class="fresh tone-text-bad" title=${details.invalid}><${Icon} name="warning" />The definition is not valid</p>` : html`<${Freshness} freshness=${freshness} details=${details} />`}
    <div class="card-bars"><${Bars} runs=${runs} expected=${expected} /></div>
    <dl class="card-facts">
      <div><dt>Last run</dt><dd>${last ? html`<a href=${`#/runs/${last.run_id}`} class=${`plain-link tone-text-${RUN[last.status].tone}`}>${RUN[last.status].label}</a> <${Time} at=${last.ended_at ?? last.created_at} />` : 'None yet'}</dd></div>
      <div><dt>Duration</dt><dd class="number"><span class="nowrap">${last?.ended_at ? brief(secondsOf(last)) : '–'}</span> <span class="muted nowrap" title="Expected duration">/ ${expected ? brief(expected) : '–'}</span><span class="sr"> expected</span></dd></div>
      <div><dt>Next</dt><dd>${canSchedule ? html`<${Next} schedules=${schedules} />` : html`<span class="muted" title="Needs scheduler:ListSchedules and scheduler:GetSchedule">not readable</span>`}</dd></div>
    </dl></li>`;
});

/** Fresh or stale, and since when. `zone`: of the deadline, if that is a time of the day. */
export function Freshness({ freshness, details, zone }) {
  if (!freshness) {
    const last = details.last_success;
    return html`<p class="fresh muted"><${Icon} name="clock" />${last ? html`<span>Last success <${Time} at=${last.ended_at ?? last.created_at} /></span>` : 'No success yet'}</p>`;
  }
  const is = FRESHNESS[freshness.state];
  return html`<p class="fresh"><${Badge} is=${is} plain />
    <span class="muted">${freshness.state === 'STALE'
      ? html`since <${Time} at=${freshness.due_at} as="when" zone=${zone} /> (<${Time} at=${freshness.due_at} />)`
      : html`until <${Time} at=${freshness.due_at} as="when" zone=${zone} />`}</span></p>`;
}

export function Next({ schedules }) {
  const next = nextSchedule(schedules);
  if (next) return html`<${Time} at=${next.at} as="when" />`;
  if (!schedules?.length) return html`<span class="muted">No schedule</span>`;
  if (schedules.every((one) => !one.enabled)) return html`<span class="muted">Disabled</span>`;
  return html`<code title=${schedules[0].timezone}>${schedules[0].expression}</code>`;
}
export { Button };
