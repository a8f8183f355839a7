// The steps of a run on a scale of time: waiting, queued, running, polls, and what is expected.

import { html, useRef } from '../html.js';
import { entry } from '../data.js';
import { clockSeconds, duration, toMs } from '../format.js';
import { useNow, useWidth } from '../live.js';
import { labelClass, percent, place, ticks } from '../scale.js';
import { STEP, isOpen } from '../status.js';

/** Return the steps of a run in the order of its definition, with the times of each in milliseconds. */
export function stepsOf(run, now) {
  const until = run.ended_at ? toMs(run.ended_at) : now;
  return planned(run).map(({ step, target, kind, detail, name: given }) => {
    const facts = entry(run.steps, step) ?? {};
    const name = given || facts.name || entry(run.names, target) || null;
    const began = toMs(facts.waiting_since);
    const noted = toMs(facts.started_at);
    const ended = toMs(facts.ended_at);
    const sent = noted === null || facts.refused ? null : noted;
    const started = sent === null ? null : Math.max(sent, Math.min(toMs(facts.running_since) ?? sent, ended ?? until));
    const isQueued = sent !== null && ended === null && !facts.running_since && facts.status !== 'RUNNING';
    const runs = started !== null && !isQueued;
    const end = ended ?? until;
    const expected = facts.expected_seconds ?? null;
    const ran = runs ? (end - started) / 1000 : null;
    return {
      step, target, kind, facts, expected, ran,
      key: step ?? `skipped ${target}`,
      name, label: name ?? (kind === 'job' ? `Data job ${short(target)}` : `Data model ${short(target)}`),
      detail: [kind === 'job' ? 'Data job' : 'Load', facts.mode ?? facts.kind ?? detail, facts.tables?.join(', ')].filter(Boolean).join(' · '),
      began, sent, started: runs ? started : null, ended: ended ?? (runs && !isOpen(run.status) ? until : null), end,
      waited: began === null ? 0 : ((sent ?? end) - began) / 1000,
      queued: sent === null ? 0 : ((runs ? started : end) - sent) / 1000,
      late: ended === null && expected && ran > expected ? ran - expected : 0,
      polls: (facts.poll_times ?? []).map(toMs),
      state: stateOf(run, facts, { began, sent, isQueued, skipped: step === null }),
    };
  });
}

function stateOf(run, facts, { began, sent, isQueued, skipped }) {
  if (facts.outcome) return facts.outcome;
  if (skipped) return 'SKIPPED';
  if (!isOpen(run.status)) return began === null ? 'PENDING' : 'UNFINISHED';
  if (began === null) return 'PENDING';
  if (sent === null) return 'WAITING';
  return isQueued ? 'QUEUED' : 'RUNNING';
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
export const canonical = (id = '') => (UUID.test(id) ? id.toLowerCase() : id);
const short = (id = '') => (id.length > 18 ? `${id.slice(0, 8)}…` : id);
const idIn = (text = '') => canonical(/jobId=([^&#]+)/.exec(text)?.[1] ?? /process-data-models\/([^/?#]+)/.exec(text)?.[1] ?? text);

/**
 * Return the steps of the definition; without one, those that the record has. `step`: null for what a retry skips.
 * The other steps are numbered without those, and no job is skipped that has to start a load.
 */
function planned(run) {
  if (!run.definition) {
    return Object.entries(run.steps ?? {}).map(([step, facts]) => ({ step, target: facts.job ?? facts.data_model, kind: step.startsWith('job') ? 'job' : 'load' }));
  }
  const skip = new Set((run.skip ?? []).map(canonical));
  const loads = (run.definition.loads ?? []).map((one) => ({ target: idIn(one.data_model), kind: 'load', detail: one.kind ?? 'complete', name: one.name, by: one.started_by }));
  const isJobNeeded = loads.some((one) => one.by === 'job' && !skip.has(one.target));
  const jobs = (run.definition.jobs ?? []).flat().map((one) => ({ target: idIn(one.job), kind: 'job', detail: one.mode ?? 'FULL', name: one.name }));
  return [...numbered(jobs, 'job', isJobNeeded ? new Set() : skip), ...numbered(loads, 'load', skip)];
}

function numbered(steps, kind, skip) {
  let next = 0;
  return steps.map((one) => ({ ...one, step: skip.has(one.target) ? null : `${kind}-${next++}` }));
}

/** Return a text of a run with the names of its jobs and models in place of their ids. */
export function withNamesIn(text, steps) {
  const found = steps.reduce((all, { target, name }) => {
    return name && target ? all.replace(new RegExp(`(?<![\\w(/-])${target.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w)/-])`, 'gi'), () => `"${name}"`) : all;
  }, text);
  return withoutIds(found);
}

/** Return a text without the ids that follow a name: `"Orders" (0b8a1f2e-…)` is `"Orders"`. */
export const withoutIds = (text) => text.replace(/(") \([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\)/gi, '$1');

/** When each step that has not begun is expected to begin and end: stage after stage, then all loads; null if unknown. */
function plansOf(run, steps, now) {
  const stages = [...(run.definition?.jobs ?? []).map((one) => [one].flat().length), (run.definition?.loads ?? []).length];
  const plans = [];
  let at = now, first = 0;
  for (const count of stages) {
    const stage = steps.slice(first, first + count);
    const ends = stage.map((one) => endOf(one, at, now));
    for (const one of stage) plans.push(at !== null && one.state === 'PENDING' && one.expected ? { begin: at, end: at + one.expected * 1000 } : null);
    at = ends.includes(null) ? null : Math.max(at, ...ends);
    first += count;
  }
  return plans;
}

/** When a step is expected to end if it may begin at `at` (null: not known); null while it waits or without a duration. */
function endOf(one, at, now) {
  if (one.state === 'SKIPPED') return at;
  if (one.ended !== null) return one.ended;
  if (at === null || one.state === 'WAITING' || !one.expected) return null;
  return Math.max((one.started ?? at) + one.expected * 1000, now);
}

export function Gantt({ run }) {
  const now = useNow(isOpen(run.status) ? 1000 : 60_000);
  const open = isOpen(run.status);
  const steps = stepsOf(run, now);
  const created = toMs(run.created_at);
  const first = Math.min(created, ...(run.options?.reasons ?? []).map((one) => toMs(one.at)));
  const opened = toMs(run.started_at);
  const end = run.ended_at ? toMs(run.ended_at) : now;
  const expected = open && !steps.some((one) => one.late) ? toMs(run.expected_end) : null;
  const from = created - first > 4 * (end - created) ? created : first;
  const to = Math.max(end, expected ?? 0, from + 5000) + 0.03 * (Math.max(end, expected ?? 0) - from);
  const scale = (begin, stop) => place(begin, stop, from, to);
  const axis = useRef();
  const marks = ticks(from, to, useWidth(axis));
  const plans = plansOf(run, steps, now);
  return html`<div class="gantt" role="img" aria-label=${`Gantt chart of ${steps.length} steps; the table below has the same figures`}>
    <div class="gantt-row gantt-axis"><div class="gantt-label" /><div class="gantt-track" ref=${axis}>${marks.map((tick) => html`<span key=${tick.at} class=${labelClass(tick.at, from, to)} style=${{ left: `${percent(tick.at, from, to)}%` }}>${tick.label}</span>`)}</div></div>
    <div class="gantt-rows">
      <div class="gantt-grid"><div class="gantt-label" /><div class="gantt-track">
        ${marks.map((tick) => html`<span key=${tick.at} class="tick" style=${{ left: `${percent(tick.at, from, to)}%` }} />`)}
        ${expected && html`<span class="expected-end" style=${{ left: `${percent(expected, from, to)}%` }} title=${`Expected end ${clockSeconds(expected)}`} />`}
        ${open && html`<span class="now-line" style=${{ left: `${percent(now, from, to)}%` }} />`}</div></div>
      <div class="gantt-row"><div class="gantt-label">Queue</div><div class="gantt-track">
        ${from < created && html`<${Part} at=${scale(from, created)} kind="waiting" title=${`Merged, waited ${duration((created - from) / 1000)} for the run before it`} />`}
        <${Part} at=${scale(created, opened ?? end)} kind="queued" title=${`Started within ${duration(((opened ?? end) - created) / 1000)}`} /></div></div>
      ${steps.map((one, at) => html`<div key=${one.key} class=${`gantt-row ${one.began === null ? 'future' : ''}`}><div class="gantt-label" title=${one.label}>${one.label}</div><div class="gantt-track">
        ${one.began !== null && one.waited >= 1 && html`<${Part} at=${scale(one.began, one.sent ?? one.end)} kind="waiting" title=${`Waited ${duration(one.waited)}${one.facts.waiting_for ? `: ${withNamesIn(one.facts.waiting_for, steps)}` : ''}`} />`}
        ${one.sent !== null && one.queued >= 1 && html`<${Part} at=${scale(one.sent, one.started ?? one.end)} kind="queued" title=${`Queued in Celonis for ${duration(one.queued)}`} />`}
        ${open && plans[at] && html`<${Part} at=${scale(plans[at].begin, plans[at].end)} kind="ghost" title=${`Expected from ${clockSeconds(plans[at].begin)} to ${clockSeconds(plans[at].end)}`} />`}
        ${one.started !== null && one.expected && one.ended === null && html`<${Part} at=${scale(one.started, one.started + one.expected * 1000)} kind="ghost" title=${`Expected: ${duration(one.expected)}`} />`}
        ${one.started !== null && html`<${Part} at=${scale(one.started, one.end)} kind=${`run-${one.state}`} title=${`${one.label}: ${duration(one.ran)}`}><span class="part-text">${duration(one.ran)}</span><//>`}
        ${one.polls.map((at) => at >= from && at <= to && html`<span key=${at} class="poll" style=${{ left: `${percent(at, from, to)}%` }} title=${`Polled at ${clockSeconds(at)}`} />`)}
      </div></div>`)}
    </div></div>
    <ul class="legend">${legendOf(steps, { open, isMerged: from < created, expected }).map(([kind, label]) => html`<li key=${kind}><span class=${`key part ${kind}`} />${label}</li>`)}</ul>`;
}

/** The signs of a chart that occur in it, with their words. */
function legendOf(steps, { open, isMerged, expected }) {
  const states = new Set(steps.filter((one) => one.started !== null).map((one) => one.state));
  const waits = steps.some((one) => one.began !== null && one.waited >= 1);
  return [
    [isMerged || waits, 'waiting', 'Waiting'],
    [true, 'queued', 'Queued'],
    ...['SUCCEEDED', 'RUNNING', 'FAILED', 'CANCELLED', 'UNFINISHED'].map((state) => [states.has(state), `run-${state}`, STEP[state].label]),
    [steps.some((one) => one.polls.length), 'poll-key', 'Poll'],
    [open && steps.some((one) => one.expected), 'ghost', 'Expected'],
    [open, 'now-key', 'Now'],
    [expected, 'end-key', 'Expected end'],
  ].filter(([occurs]) => occurs).map(([, ...sign]) => sign);
}

function Part({ at, kind, title, children }) {
  return at && html`<span class=${`part ${kind}`} style=${at} title=${title}>${children}</span>`;
}
